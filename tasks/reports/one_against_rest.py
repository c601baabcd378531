"""ROC curves of each class against all others, or of each label."""

import math
from typing import Any

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


def plot(test: Scored, ranked: Array, champion: Scored | None = None) -> Plot | None:
    """Draw the curves of the classes or labels that come first in `ranked`; None where none has a curve.

    The champion's lie below, thin and in the same colours.
    """
    sampled, other = sample(test), None if champion is None else sample(champion)
    shown = ranked[:_MOST_DRAWN]
    others = [None] * len(shown) if other is None else areas(other, shown)
    figure = drawing.canvas(drawing.HALF, 370)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":")
    models, names, points = list[str](), list[str](), list[Array]()
    for place, (at, area, than) in enumerate(zip(shown, areas(sampled, shown), others, strict=True)):
        if math.isnan(area):
            continue
        look: dict[str, Any] = {
            "color": drawing.CYCLE[place % len(drawing.CYCLE)],
            "linestyle": _LINES[place // len(drawing.CYCLE)],
        }
        beside = "" if than is None else f" ({number(than)})"
        words = {"label": f"{shorten(test.names[at], 16)}, {number(area)}{beside}"}
        thin, thick = {"linewidth": 0.9, "alpha": 0.5}, {"linewidth": 1.5, **words}
        for model, scored, more in (("champion", other, thin), ("model", sampled, thick)):
            if scored is not None:
                points.append(_curve(scored, at))
                axes.plot(*points[-1], **look, **more)
                models += [model] * points[-1].shape[1]
                names += [test.names[at]] * points[-1].shape[1]
    if not points:
        return None
    axes.set(xlabel="false positive rate", ylabel="true positive rate (recall)", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(
        loc="lower right",
        fontsize=9,
        title_fontsize=9,
        title=f"area under the curve{'' if other is None else ' (champion)'}",
    )
    what = "label" if test.problem == "multilabel" else "class"
    said = "Each label." if what == "label" else "Each class against all others."
    if len(shown) < len(test.names):
        said += f" The {len(shown)} of {len(test.names):,} with the most rows."
    if other is not None:
        said += " Thin lines are the champion's."
    x, y = np.concatenate(points, axis=1)
    data = {"model": models, what: names, "false_positive_rate": x, "true_positive_rate": y}
    return Plot("roc", "ROC curves", figure, data, said + note(test, sampled))


def _curve(scored: Scored, at: int) -> Array:
    """Return false and true positive rates, shape (2, points)."""
    curve = sk.roc_curve(is_of(scored, at), scored.predicted[:, at], sample_weight=scored.weight)
    return np.array(drawing.thinned(curve[0], curve[1], limit=300))
