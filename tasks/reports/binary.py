"""What two classes ask for: ROC, precision and recall, calibration, confusion, scores."""

import numpy as np
from sklearn import metrics as sk

from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import confusion, drawing
from tasks.reports.confusion import Rates
from tasks.reports.elements import Plot, Section
from tasks.reports.formatting import percent, shorten

_BINS = 10
_CUT = 0.5


def section(test: Scored) -> Section:
    """Return the section on the test rows; curves are left out, with a word, where one class is missing."""
    weight = np.ones(len(test.truth)) if test.weight is None else test.weight
    positives, total = float(weight[test.truth == 1].sum()), float(weight.sum())
    plots = (_calibration(test, weight), _confusion(test, weight), _scores(test))
    if not 0 < positives < total:
        note = "The test rows are all of one class: there is no curve of ROC, nor of precision and recall."
        return Section(plots=plots, notes=(note,))
    return Section(plots=(_roc(test), _precision_recall(test, positives / total), *plots))


def _rates(test: Scored) -> Rates:
    """Return the figures of the positive class, each of shape (1,), at the cut."""
    cells = confusion.matrix(test.truth, test.decided, 2, test.weight)
    return Rates.of(actual=cells[1:].sum(axis=1), decided=cells[:, 1:].sum(axis=0), hit=cells[1:, 1], total=cells.sum())


def _roc(test: Scored) -> Plot:
    score = test.predicted[:, 1]
    false_positive, true_positive, _ = sk.roc_curve(test.truth, score, sample_weight=test.weight)
    area = sk.roc_auc_score(test.truth, score, sample_weight=test.weight)
    at_cut = _rates(test)
    figure = drawing.canvas()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":", label="by chance")
    axes.plot(*drawing.thinned(false_positive, true_positive), color=drawing.BLUE, label=f"model, area {area:.4g}")
    axes.plot(1 - at_cut.specificity, at_cut.recall, "o", color=drawing.ORANGE, label="cut at 0.5")
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right")
    return Plot("roc", "ROC curve", figure, "How many positives are found for how many false alarms, at every cut.")


def _precision_recall(test: Scored, base_rate: float) -> Plot:
    score = test.predicted[:, 1]
    precision, recall, _ = sk.precision_recall_curve(test.truth, score, sample_weight=test.weight)
    area = sk.average_precision_score(test.truth, score, sample_weight=test.weight)
    figure = drawing.canvas()
    axes = figure.subplots()
    axes.axhline(base_rate, color=drawing.INK, linewidth=0.8, linestyle=":", label=f"by chance, {percent(base_rate)}")
    axes.plot(
        *drawing.thinned(recall, precision), color=drawing.BLUE, drawstyle="steps-post", label=f"model, area {area:.4g}"
    )
    at_cut = _rates(test)
    axes.plot(at_cut.recall, at_cut.precision, "o", color=drawing.ORANGE, label="cut at 0.5")
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
    axes.legend(loc="lower left")
    caption = "How many of the rows called positive are so, for how many positives found."
    return Plot("precision_recall", "Precision and recall", figure, caption)


def _calibration(test: Scored, weight: Array) -> Plot:
    score = test.predicted[:, 1]
    bins = np.minimum((score * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    weights = np.bincount(bins, weight, minlength=_BINS)
    filled = weights > 0
    said = np.bincount(bins, weight * score, minlength=_BINS)[filled] / weights[filled]
    seen = np.bincount(bins, weight * test.truth, minlength=_BINS)[filled] / weights[filled]
    figure = drawing.canvas(height=370)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":", label="perfect")
    top.plot(said, seen, "o-", color=drawing.BLUE, markersize=5, label="model")
    top.set(ylabel="share of positives", ylim=(-0.04, 1.04))
    top.legend(loc="upper left")
    centers = (np.arange(_BINS) + 0.5) / _BINS
    bars = bottom.bar(centers, rows, width=0.9 / _BINS, color=drawing.BLUE, alpha=0.55)
    bottom.bar_label(bars, labels=[f"{count:,}" if count else "" for count in rows], fontsize=8.5, padding=2)
    drawing.count_ticks(bottom.yaxis)
    bottom.set(xlabel="predicted probability", ylabel="rows", xlim=(-0.02, 1.02), ylim=(0, max(rows.max(), 1) * 1.35))
    caption = (
        "What is predicted as 70\u00a0% should be so in 70\u00a0% of cases. A point with few rows below it says little."
    )
    return Plot("calibration", "Calibration", figure, caption)


def _confusion(test: Scored, weight: Array) -> Plot:
    counts = confusion.matrix(test.truth, test.decided, 2)
    weighted = confusion.matrix(test.truth, test.decided, 2, weight)
    with np.errstate(invalid="ignore"):
        rates = weighted / weighted.sum(axis=1, keepdims=True)
    figure = confusion.both_figure(counts, rates, test.names)
    caption = "Rows, and their share of the true class. The cut is at a probability of 0.5."
    return Plot("confusion", "Confusion matrix", figure, caption)


def _scores(test: Scored) -> Plot:
    edges = np.linspace(0, 1, 41)
    figure = drawing.canvas(drawing.FULL, 300)
    axes = figure.subplots()
    for code, (colour, line) in enumerate(((drawing.ORANGE, "--"), (drawing.BLUE, "-"))):
        counts, _ = np.histogram(test.predicted[test.truth == code, 1], edges)
        share = counts / max(counts.sum(), 1)
        label = f"{shorten(test.names[code], 24)} ({counts.sum():,} rows)"
        axes.stairs(share, edges, fill=True, facecolor=(colour, 0.35), edgecolor="none")
        axes.stairs(share, edges, color=colour, linestyle=line, linewidth=1.5, label=label)
    axes.axvline(_CUT, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"predicted probability of {shorten(test.names[1], 24)}", ylabel="share of the class's rows")
    axes.legend(loc="upper left", bbox_to_anchor=(0.51, 1))  # beside the line of the cut
    return Plot("scores", "Scores by true class", figure, "The further apart the two, the better they are told apart.")
