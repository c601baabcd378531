"""What several labels a row ask for: the figures of each label, and how many labels of a row are wrong."""

import numpy as np

from schemas.evaluation import Costs
from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import beside, drawing, one_against_rest, reliability, thresholds
from tasks.reports.confusion import Rates
from tasks.reports.content import Content, weights
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, percent, shorten
from tasks.reports.reliability import Calls
from tasks.reports.thresholds import Counts

_MOST_DRAWN = 30
_MOST_LISTED = 100


def section(content: Content) -> Section:
    """Return the section on the test rows; of many labels those with the most positives are shown."""
    test, validation = content.test, content.scored.get("validation")
    rates, champion = _rates(test), content.champion
    ranked = np.argsort(-test.truth.sum(axis=0, dtype=np.int64), kind="stable")
    curves, listed = one_against_rest.plot(test, ranked, champion), np.sort(ranked[:_MOST_LISTED])
    return Section(
        plots=(
            _bars(test, rates, ranked[:_MOST_DRAWN]),
            _wrong(test),
            *([curves] if curves else []),
            _calibration(test, champion),
        ),
        tables=(
            _labels(test, rates, np.average(test.truth, axis=0, weights=test.weight), listed),
            *([beside.rates("label", test.names, _rates(test), _rates(champion), shown=listed)] if champion else []),
            *([_costs(test, validation, content.evaluation.costs or Costs(), listed)] if validation else []),
        ),
    )


def _rates(scored: Scored) -> Rates:
    weight, truth, decided = weights(scored), scored.truth.astype(bool), scored.decided.astype(bool)
    return Rates.of(
        actual=weight @ truth, decided=weight @ decided, hit=weight @ (truth & decided), total=float(weight.sum())
    )


def _calls(scored: Scored) -> Calls:
    return Calls(scored.predicted.ravel(), scored.truth.ravel(), np.repeat(weights(scored), len(scored.names)))


def _calibration(test: Scored, champion: Scored | None) -> Plot:
    others = None if champion is None else _calls(champion)
    return reliability.plot(_calls(test), others, y="share of ones", counted="labels")


def _costs(test: Scored, validation: Scored, costs: Costs, shown: Array) -> Table:
    rows = []
    for at in shown:
        seen, chosen_on = (
            Counts.of(each.truth[:, at], each.predicted[:, at], weights(each)) for each in (test, validation)
        )
        chosen = thresholds.cheapest(chosen_on, costs)
        cost = seen.cost(costs)
        rows.append(
            (
                test.names[at],
                number(chosen),
                *(number(1000 * float(cost[seen.at(cut)])) for cut in (chosen, thresholds.DEFAULT)),
            )
        )
    return Table(
        title="Where to cut each label",
        header=("label", "cheapest on validation", "cost per 1,000 rows", "at 0.5"),
        rows=tuple(rows),
        caption=f"A false positive costs {costs.false_positive:g} and a false negative {costs.false_negative:g} "
        "(evaluation.costs); costs are those of the test rows.",
    )


def _labels(test: Scored, rates: Rates, base_rate: Array, shown: Array) -> Table:
    positives = test.truth.sum(axis=0, dtype=np.int64)
    sampled = one_against_rest.sample(test)
    return Table(
        title="Each label",
        header=("label", "precision", "recall", "specificity", "F1", "ROC AUC", "positives", "base rate"),
        rows=tuple(
            (
                test.names[at],
                *rates.row(at),
                number(area),
                number(int(positives[at])),
                percent(float(base_rate[at])),
            )
            for at, area in zip(shown, one_against_rest.areas(sampled, shown), strict=True)
        ),
        caption=(
            f"The {len(shown)} labels with the most positives of {len(test.names):,}."
            if len(shown) < len(test.names)
            else ""
        )
        + one_against_rest.note(test, sampled).replace(" From", " ROC AUC from"),
    )


def _bars(test: Scored, rates: Rates, shown: Array) -> Plot:
    figure = drawing.canvas(height=max(320, 90 + 26 * len(shown)))
    axes = figure.subplots()
    places = np.arange(len(shown))
    axes.barh(places, rates.f1[shown], height=0.62, color=drawing.BLUE, alpha=0.4, label="F1")
    axes.plot(rates.precision[shown], places, "^", color=drawing.ORANGE, label="precision")
    axes.plot(rates.recall[shown], places, "o", color=drawing.GREEN, label="recall")
    axes.set_yticks(places, [shorten(test.names[at], 20) for at in shown])
    axes.set(xlim=(0, 1.03), ylim=(len(shown) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside lower center", ncols=3)
    caption = "Labels with the most positives first."
    if len(shown) < len(test.names):
        caption = f"The {len(shown)} labels of {len(test.names):,} with the most positives."
    data = {
        "label": [test.names[at] for at in shown],
        "precision": rates.precision[shown],
        "recall": rates.recall[shown],
        "f1": rates.f1[shown],
    }
    return Plot("labels", "Precision, recall and F1", figure, data, caption)


def _wrong(test: Scored) -> Plot:
    wrong = np.bincount((test.decided != test.truth).sum(axis=1))
    figure = drawing.canvas()
    axes = figure.subplots()
    bars = axes.bar(np.arange(len(wrong)), wrong, width=0.7, color=drawing.BLUE, alpha=0.55)
    if len(wrong) <= 12:
        axes.bar_label(bars, labels=[f"{count:,}" for count in wrong], padding=2)
    drawing.count_ticks(axes.xaxis)
    drawing.count_ticks(axes.yaxis)
    axes.set(xlabel="wrong labels in a row", ylabel="test rows", ylim=(0, wrong.max() * 1.12))
    axes.grid(visible=False, axis="x")
    caption = f"Rows with no wrong label count in the subset accuracy; {len(test.names)} labels in all, cut at 0.5."
    data = {"wrong_labels": np.arange(len(wrong)), "rows": wrong}
    return Plot("wrong_labels", "Wrong labels per row", figure, data, caption)
