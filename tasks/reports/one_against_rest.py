"""ROC curves of each class against all others, or of each label."""

import math

import numpy as np
from sklearn import metrics as sk

from tasks.encoders.base import Array
from tasks.findings.resampling import taken
from tasks.metrics import Scored, roc_auc
from tasks.reports import drawing
from tasks.reports.elements import Plot
from tasks.reports.formatting import number, shorten

_MOST_DRAWN = 10
_MOST_VALUES = 5_000_000
_LINES = ("-", (0, (4, 1.5)))


def sample(test: Scored) -> Scored:
    """Return the rows, or of many rows of many classes so many at random that curves take a second at most."""
    rows, most = len(test.truth), max(1, _MOST_VALUES // len(test.names))
    if rows <= most:
        return test
    return taken(test, np.sort(np.random.default_rng(0).choice(rows, most, replace=False)))


def note(test: Scored, sampled: Scored) -> str:
    """Return what must be said where `sample` left rows out."""
    if len(sampled.truth) == len(test.truth):
        return ""
    return f" From {len(sampled.truth):,} of {len(test.truth):,} rows, chosen at random."


def is_of(scored: Scored, at: int) -> Array:
    """Return which rows are of a class or have a label: zeros and ones of shape (n,)."""
    return scored.truth[:, at] if scored.problem == "multilabel" else (scored.truth == at).astype(np.int8)


def areas(sampled: Scored, shown: Array) -> list[float]:
    """Return the ROC AUC of some classes or labels; NaN where all rows are alike."""
    return [roc_auc(is_of(sampled, at), sampled.predicted[:, at], sampled.weight) for at in shown]


def plot(test: Scored, ranked: Array) -> Plot | None:
    """Draw the curves of the classes or labels that come first in `ranked`; None where none has a curve."""
    sampled = sample(test)
    shown = ranked[:_MOST_DRAWN]
    figure = drawing.canvas(drawing.HALF, 370)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":")
    names, points = list[str](), list[Array]()
    for place, (at, area) in enumerate(zip(shown, areas(sampled, shown), strict=True)):
        if math.isnan(area):
            continue
        curve = sk.roc_curve(is_of(sampled, at), sampled.predicted[:, at], sample_weight=sampled.weight)
        thinned = np.array(drawing.thinned(curve[0], curve[1], limit=300))
        axes.plot(
            *thinned,
            color=drawing.CYCLE[place % len(drawing.CYCLE)],
            linestyle=_LINES[place // len(drawing.CYCLE)],
            linewidth=1.5,
            label=f"{shorten(test.names[at], 16)}, {number(area)}",
        )
        names += [test.names[at]] * thinned.shape[1]
        points.append(thinned)
    if not points:
        return None
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="lower right", fontsize=9, title_fontsize=9, title="area under the curve")
    what = "label" if test.problem == "multilabel" else "class"
    said = "Each label." if what == "label" else "Each class against all others."
    if len(shown) < len(test.names):
        said += f" The {len(shown)} of {len(test.names):,} with the most rows."
    x, y = np.concatenate(points, axis=1)
    data = {what: names, "false_positive_rate": x, "true_positive_rate": y}
    return Plot("roc", "ROC curves", figure, data, said + note(test, sampled))
