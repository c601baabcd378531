"""Calibration: whether what is predicted as 70 % is so in 70 % of cases."""

import numpy as np

from tasks.encoders.base import Array
from tasks.reports import drawing
from tasks.reports.elements import Plot

_BINS = 10
_CAPTION = (
    "What is predicted as 70\u00a0% should be so in 70\u00a0% of cases. A point with few rows below it says little."
)


def plot(
    said: Array,
    seen: Array,
    weight: Array,
    *,
    x: str = "predicted probability",
    y: str = "share of positives",
    counted: str = "rows",
    caption: str = _CAPTION,
) -> Plot:
    """Draw how often something was so, zeros and ones, beside how probable it was said to be; shapes (n,)."""
    bins = np.minimum((said * _BINS).astype(int), _BINS - 1)
    rows = np.bincount(bins, minlength=_BINS)
    weights = np.bincount(bins, weight, minlength=_BINS)
    filled = weights > 0
    mean = np.bincount(bins, weight * said, minlength=_BINS)[filled] / weights[filled]
    share = np.bincount(bins, weight * seen, minlength=_BINS)[filled] / weights[filled]
    figure = drawing.canvas(height=370)
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    top.plot([0, 1], [0, 1], color=drawing.INK, linewidth=0.8, linestyle=":", label="perfect")
    top.plot(mean, share, "o-", color=drawing.BLUE, markersize=5, label="model")
    top.set(ylabel=y, ylim=(-0.04, 1.04))
    top.legend(loc="upper left")
    centers = (np.arange(_BINS) + 0.5) / _BINS
    bars = bottom.bar(centers, rows, width=0.9 / _BINS, color=drawing.BLUE, alpha=0.55)
    bottom.bar_label(bars, labels=[f"{count:,}" if count else "" for count in rows], fontsize=8.5, padding=2)
    drawing.count_ticks(bottom.yaxis)
    bottom.set(xlabel=x, ylabel=counted, xlim=(-0.02, 1.02), ylim=(0, max(rows.max(), 1) * 1.35))
    data = {"predicted": mean, "observed": share, "rows": rows[filled]}
    return Plot("calibration", "Calibration", figure, data, caption)
