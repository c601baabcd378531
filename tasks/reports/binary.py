"""What two classes ask for: ROC, precision and recall, calibration, confusion, scores, thresholds."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from sklearn import metrics as sk

from schemas.evaluation import Costs
from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import confusion, drawing, reliability, thresholds
from tasks.reports.confusion import Rates
from tasks.reports.content import Content, weights
from tasks.reports.elements import Data, Plot, Section
from tasks.reports.formatting import percent, shorten
from tasks.reports.reliability import Calls
from tasks.reports.thresholds import Counts

_Curve = Callable[[Scored], tuple[Array, Array, float]]
"""Gives the points of a curve and the area under it."""


def section(content: Content) -> Section:
    """Return the section on the test rows; curves are left out, with a word, where one class is missing."""
    test = content.test
    weight = weights(test)
    positives, total = float(weight[test.truth == 1].sum()), float(weight.sum())
    champion = content.champion
    calibration = reliability.plot(_calls(test), None if champion is None else _calls(champion))
    plots = (calibration, _confusion(test, weight), _scores(test))
    if not 0 < positives < total:
        note = "The test rows are all of one class: there is no curve of ROC, nor of precision and recall."
        return Section(plots=plots, notes=(note,))
    costs, counts = content.evaluation.costs or Costs(), _counts(test)
    validation = _counts(content.scored["validation"]) if "validation" in content.scored else None
    return Section(
        plots=(
            _roc(test, champion),
            _precision_recall(test, champion, positives / total),
            *plots,
            thresholds.plot(counts, validation, costs),
        ),
        tables=(thresholds.table(counts, validation, costs),),
    )


def _calls(scored: Scored) -> Calls:
    return Calls(scored.predicted[:, 1], scored.truth, weights(scored))


def _counts(scored: Scored) -> Counts:
    return Counts.of(scored.truth, scored.predicted[:, 1], weights(scored))


def _rates(test: Scored) -> Rates:
    """Return the figures of the positive class, each of shape (1,), at the cut."""
    cells = confusion.matrix(test.truth, test.decided, 2, test.weight)
    return Rates.of(actual=cells[1:].sum(axis=1), decided=cells[:, 1:].sum(axis=0), hit=cells[1:, 1], total=cells.sum())


def _roc(test: Scored, champion: Scored | None) -> Plot:
    at_cut = _rates(test)
    figure = drawing.canvas()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":", label="by chance")
    data = _curves(axes, (champion, test), _roc_curve, ("false_positive_rate", "true_positive_rate"))
    axes.plot(1 - at_cut.specificity, at_cut.recall, "o", color=drawing.ORANGE, label="cut at 0.5")
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    caption = "How many positives are found for how many false alarms, at every cut."
    return Plot("roc", "ROC curve", figure, data, caption)


def _roc_curve(scored: Scored) -> tuple[Array, Array, float]:
    score = scored.predicted[:, 1]
    false_positive, true_positive, _ = sk.roc_curve(scored.truth, score, sample_weight=scored.weight)
    return false_positive, true_positive, sk.roc_auc_score(scored.truth, score, sample_weight=scored.weight)


def _precision_recall(test: Scored, champion: Scored | None, base_rate: float) -> Plot:
    figure = drawing.canvas()
    axes = figure.subplots()
    axes.axhline(base_rate, color=drawing.INK, linewidth=0.8, linestyle=":", label=f"by chance, {percent(base_rate)}")
    data = _curves(axes, (champion, test), _precision_recall_curve, ("recall", "precision"), drawstyle="steps-post")
    at_cut = _rates(test)
    axes.plot(at_cut.recall, at_cut.precision, "o", color=drawing.ORANGE, label="cut at 0.5")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.legend(loc="lower left")
    caption = "How many of the rows called positive are so, for how many positives found."
    return Plot("precision_recall", "Precision and recall", figure, data, caption)


def _precision_recall_curve(scored: Scored) -> tuple[Array, Array, float]:
    score = scored.predicted[:, 1]
    precision, recall, _ = sk.precision_recall_curve(scored.truth, score, sample_weight=scored.weight)
    return recall, precision, sk.average_precision_score(scored.truth, score, sample_weight=scored.weight)


def _curves(
    axes: Axes,
    pair: tuple[Scored | None, Scored],
    curve: _Curve,
    names: tuple[str, str],
    *,
    drawstyle: Literal["default", "steps-post"] = "default",
) -> Data:
    """Draw the curve of the model over the champion's, and return the points of both under the names of x and y."""
    models, points = list[str](), list[Array]()
    looks: tuple[Mapping[str, Any], Mapping[str, Any]] = (drawing.CHAMPION, {"color": drawing.BLUE})
    for name, scored, look in zip(("champion", "model"), pair, looks, strict=True):
        if scored is not None:
            x, y, area = curve(scored)
            points.append(np.array(drawing.thinned(x, y)))
            axes.plot(*points[-1], drawstyle=drawstyle, label=f"{name}, area {area:.4g}", **look)
            models += [name] * points[-1].shape[1]
    return {"model": models, **dict(zip(names, np.concatenate(points, axis=1), strict=True))}


def _confusion(test: Scored, weight: Array) -> Plot:
    counts = confusion.matrix(test.truth, test.decided, 2)
    weighted = confusion.matrix(test.truth, test.decided, 2, weight)
    with np.errstate(invalid="ignore"):
        rates = weighted / weighted.sum(axis=1, keepdims=True)
    figure = confusion.both_figure(counts, rates, test.names)
    caption = "Rows, and their share of the true class. The cut is at a probability of 0.5."
    return Plot("confusion", "Confusion matrix", figure, confusion.data(counts, rates, test.names), caption)


def _scores(test: Scored) -> Plot:
    edges = np.linspace(0, 1, 41)
    figure = drawing.canvas(drawing.FULL, 300)
    axes = figure.subplots()
    rows = []
    for code, (colour, line) in enumerate(((drawing.ORANGE, "--"), (drawing.BLUE, "-"))):
        counts, _ = np.histogram(test.predicted[test.truth == code, 1], edges)
        share = counts / max(counts.sum(), 1)
        label = f"{shorten(test.names[code], 24)} ({counts.sum():,} rows)"
        axes.stairs(share, edges, fill=True, facecolor=(colour, 0.35), edgecolor="none")
        axes.stairs(share, edges, color=colour, linestyle=line, linewidth=1.5, label=label)
        rows.append(counts)
    axes.axvline(thresholds.DEFAULT, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"predicted probability of {shorten(test.names[1], 24)}", ylabel="share of the class's rows")
    axes.legend(loc="upper left", bbox_to_anchor=(0.51, 1))  # beside the line of the cut
    data = {
        "class": [name for name in test.names for _ in edges[1:]],
        "from": np.tile(edges[:-1], 2),
        "to": np.tile(edges[1:], 2),
        "rows": np.concatenate(rows),
    }
    caption = "The further apart the two, the better they are told apart."
    return Plot("scores", "Scores by true class", figure, data, caption)
