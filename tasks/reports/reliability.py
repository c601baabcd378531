"""Calibration: whether what is predicted as 70 % is so in 70 % of cases."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from tasks.encoders.base import Array
from tasks.reports import drawing
from tasks.reports.elements import Plot

_BINS = 10
_CAPTION = (
    "What is predicted as 70\u00a0% should be so in 70\u00a0% of cases. A point with few rows below it says little."
)


@dataclass(frozen=True)
class Calls:
    """What was said to be so, and whether it was; arrays of shape (n,)."""

    said: Array
    """How probable it was said to be."""
    seen: Array
    """Whether it was so: zeros and ones."""
    weight: Array
    """What each call weighs."""


@dataclass(frozen=True)
class _Bins:
    mean: Array
    """Mean of what was said, of the bins that hold something."""
    share: Array
    """How often it was so, of the same bins."""
    rows: Array
    """Calls in these bins."""
    counts: Array
    """Calls in every bin, shape (_BINS,)."""

    @classmethod
    def of(cls, calls: Calls) -> "_Bins":
        at = np.minimum((calls.said * _BINS).astype(int), _BINS - 1)
        counts, weights = (np.bincount(at, each, minlength=_BINS) for each in (None, calls.weight))
        filled = weights > 0
        mean, share = (
            np.bincount(at, calls.weight * each, minlength=_BINS)[filled] / weights[filled]
            for each in (calls.said, calls.seen)
        )
        return cls(mean, share, counts[filled], counts)


def plot(
    model: Calls,
    champion: Calls | None = None,
    *,
    x: str = "predicted probability",
    y: str = "share of positives",
    counted: str = "rows",
    caption: str = _CAPTION,
) -> Plot:
    """Draw how often something was so beside how probable it was said to be, by the model and the champion."""
    figure = drawing.canvas(height=370)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":", label="perfect")
    binned = {name: _Bins.of(calls) for name, calls in (("champion", champion), ("model", model)) if calls is not None}
    if (other := binned.get("champion")) is not None:
        top.plot(other.mean, other.share, marker="o", markersize=4, label="champion", **drawing.CHAMPION)
    own = binned["model"]
    top.plot(own.mean, own.share, "o-", color=drawing.BLUE, markersize=5, label="model")
    top.set(ylabel=y, ylim=(-0.04, 1.04))
    top.legend(loc="upper left")
    _rows(bottom, own.counts)
    bottom.set(xlabel=x, ylabel=counted, xlim=(-0.02, 1.02), ylim=(0, max(own.counts.max(), 1) * 1.35))
    data = {
        "model": [name for name, each in binned.items() for _ in each.rows],
        "predicted": np.concatenate([each.mean for each in binned.values()]),
        "observed": np.concatenate([each.share for each in binned.values()]),
        "rows": np.concatenate([each.rows for each in binned.values()]),
    }
    return Plot("calibration", "Calibration", figure, data, caption)


def _rows(axes: Axes, counts: Array) -> None:
    centers = (np.arange(_BINS) + 0.5) / _BINS
    bars = axes.bar(centers, counts, width=0.9 / _BINS, color=drawing.BLUE, alpha=0.55)
    axes.bar_label(bars, labels=[f"{count:,}" if count else "" for count in counts], fontsize=8.5, padding=2)
    drawing.count_ticks(axes.yaxis)
