"""What several classes ask for: who is taken for whom, and the figures of each class."""

import numpy as np

from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import beside, confusion, one_against_rest, reliability
from tasks.reports.confusion import Rates
from tasks.reports.content import Content, weights
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, percent
from tasks.reports.reliability import Calls

_MOST_DRAWN = 20
_MOST_LISTED = 100
_MOST_CONFUSIONS = 10


def section(content: Content) -> Section:
    """Return the section on the test rows; of many classes those with the most test rows are shown."""
    test = content.test
    rows = np.bincount(test.truth, minlength=len(test.names))
    ranked = np.argsort(-rows, kind="stable")
    confusions = _confusions(test, rows)
    listed, champion = np.sort(ranked[:_MOST_LISTED]), content.champion
    tables = (
        _classes(test, rows, listed),
        *([beside.rates("class", test.names, _rates(test), _rates(champion), shown=listed)] if champion else []),
        *([confusions] if confusions.rows else []),
    )
    curves = one_against_rest.plot(test, ranked, champion)
    confidence = _confidence(test, champion)
    plots = (*_matrices(test, np.sort(ranked[:_MOST_DRAWN])), *([curves] if curves else []), confidence)
    return Section(plots=plots, tables=tables)


def _calls(scored: Scored) -> Calls:
    right = (scored.truth == scored.decided).astype(np.float64)
    return Calls(scored.predicted.max(axis=1), right, weights(scored))


def _confidence(test: Scored, champion: Scored | None) -> Plot:
    return reliability.plot(
        _calls(test),
        None if champion is None else _calls(champion),
        x="probability of the predicted class",
        y="share that is right",
        caption="Of predictions made with 70\u00a0% confidence, 70\u00a0% should be right. "
        "A point with few rows below it says little.",
    )


def _matrices(test: Scored, shown: Array) -> tuple[Plot, Plot]:
    """Draw counts and rates; `shown` are the codes of the classes, ascending."""
    place = np.full(len(test.names), len(shown))
    place[shown] = np.arange(len(shown))
    truth, decided = place[test.truth], place[test.decided]
    actual = np.bincount(truth, test.weight, minlength=len(shown))[: len(shown), None]
    with np.errstate(invalid="ignore"):
        rates = confusion.matrix(truth, decided, len(shown), test.weight) / actual
    names = [test.names[code] for code in shown]
    said, left_out = "Test rows by true and predicted class.", ""
    if len(shown) < len(test.names):
        left_out = (
            f" Of {len(test.names):,} classes these are the {len(shown)} with the most test rows; what was taken for "
            "another class is not shown, so that a row may add up to less than all."
        )
    counts = confusion.matrix(truth, decided, len(shown))
    data = confusion.data(counts, rates, names)
    return (
        Plot(
            "confusion_counts",
            "Confusion matrix, rows",
            confusion.counts_figure(counts, rates, names),
            data,
            said + left_out,
        ),
        Plot(
            "confusion_rates",
            "Confusion matrix, percent",
            confusion.rates_figure(rates, names),
            data,
            f"Percent of each true class: the diagonal is its recall.{left_out}",
        ),
    )


def _classes(test: Scored, rows: Array, shown: Array) -> Table:
    classes, rates, sampled = len(test.names), _rates(test), one_against_rest.sample(test)
    return Table(
        title="Each class",
        header=("class", "precision", "recall", "specificity", "F1", "ROC AUC", "test rows"),
        rows=tuple(
            (test.names[code], *rates.row(code), number(area), number(int(rows[code])))
            for code, area in zip(shown, one_against_rest.areas(sampled, shown), strict=True)
        ),
        caption=(f"The {len(shown)} classes with the most test rows of {classes:,}." if len(shown) < classes else "")
        + one_against_rest.note(test, sampled).replace(" From", " ROC AUC from"),
    )


def _rates(scored: Scored) -> Rates:
    classes, right, weight = len(scored.names), scored.truth == scored.decided, weights(scored)
    return Rates.of(
        actual=np.bincount(scored.truth, weight, minlength=classes),
        decided=np.bincount(scored.decided, weight, minlength=classes),
        hit=np.bincount(scored.truth[right], weight[right], minlength=classes),
        total=float(weight.sum()),
    )


def _confusions(test: Scored, rows: Array) -> Table:
    wrong = test.truth != test.decided
    pairs, counts = np.unique(np.column_stack([test.truth, test.decided])[wrong], axis=0, return_counts=True)
    first = np.argsort(-counts, kind="stable")[:_MOST_CONFUSIONS]
    return Table(
        title="Most frequent confusions",
        header=("true", "taken for", "test rows", "share of the true class's rows"),
        rows=tuple(
            (test.names[true], test.names[taken], number(int(count)), percent(float(count / rows[true])))
            for (true, taken), count in zip(pairs[first], counts[first], strict=True)
        ),
        text_columns=2,
    )
