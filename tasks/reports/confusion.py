"""Who was taken for whom: counts, rates and the figures of single classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tasks.encoders.base import Array
from tasks.reports import drawing
from tasks.reports.elements import Data
from tasks.reports.formatting import number, percent, shorten

_FULL_WIDTH_FROM = 9
_STRONGEST = 0.6  # of a cell's colour: text stays readable on it, in light and dark


@dataclass(frozen=True)
class Rates:
    """Figures of each class against all others, shape (classes,); NaN where the denominator is 0.

    precision = TP/(TP+FP), recall = TP/(TP+FN), specificity = TN/(TN+FP), F1 = 2TP/(2TP+FP+FN)
    (https://scikit-learn.org/stable/modules/model_evaluation.html).
    """

    precision: Array
    recall: Array
    specificity: Array
    f1: Array

    @classmethod
    def of(cls, *, actual: Array, decided: Array, hit: Array, total: float) -> "Rates":
        """Return them from the rows (or their weights) that are of a class, are taken for it, and both."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return cls(
                precision=hit / decided,
                recall=hit / actual,
                specificity=(total - actual - decided + hit) / (total - actual),
                f1=2 * hit / (actual + decided),
            )

    def row(self, at: int) -> tuple[str, str, str, str]:
        """Return one class's figures as text, in the order above."""
        return number(self.precision[at]), number(self.recall[at]), number(self.specificity[at]), number(self.f1[at])


def matrix(truth: Array, decided: Array, classes: int, weight: Array | None = None) -> Array:
    """Return rows (or their weights) by true and decided class, shape (classes, classes); codes beyond are left out."""
    inside = (truth < classes) & (decided < classes)
    cells = truth[inside].astype(np.int64) * classes + decided[inside]
    counts = np.bincount(cells, None if weight is None else weight[inside], minlength=classes * classes)
    return counts.reshape(classes, classes)


def data(counts: Array, rates: Array, names: Sequence[str]) -> Data:
    """Return counts and rates, both of shape (classes, classes), one row a pair of classes."""
    true, predicted = np.indices(counts.shape).reshape(2, -1)
    return {
        "true": [names[code] for code in true],
        "predicted": [names[code] for code in predicted],
        "rows": counts.ravel(),
        "rate": rates.ravel(),
    }


def counts_figure(counts: Array, rates: Array, names: Sequence[str]) -> Figure:
    """Draw counts of shape (classes, classes), coloured by the rates of the rows."""
    return _figure(rates, [[number(int(count)) if count else "" for count in row] for row in counts], names)


def rates_figure(rates: Array, names: Sequence[str]) -> Figure:
    """Draw rates of the rows, shape (classes, classes), in percent."""
    return _figure(rates, [[_rate(rate) for rate in row] for row in rates], names)


def both_figure(counts: Array, rates: Array, names: Sequence[str]) -> Figure:
    """Draw counts with the rates of the rows below them, both of shape (classes, classes): for few classes."""
    texts = [
        [f"{number(int(count))}\n{percent(rate)}" for count, rate in zip(*row, strict=True)]
        for row in zip(counts, rates, strict=True)
    ]
    return _figure(rates, texts, names)


def _rate(rate: float) -> str:
    return "" if np.isnan(rate) or rate == 0 else f"{100 * rate:.0f}" if rate >= 0.01 else "<1"


def _figure(rates: Array, texts: Sequence[Sequence[str]], names: Sequence[str]) -> Figure:
    many = len(names) >= _FULL_WIDTH_FROM
    figure = drawing.canvas(drawing.FULL, 240 + 28 * len(names)) if many else drawing.canvas(height=360)
    axes = figure.subplots()
    for (row, column), rate in np.ndenumerate(np.nan_to_num(rates)):
        shade = np.clip(rate, 0, 1) if row == column else np.sqrt(np.clip(rate, 0, 1))  # so that rare mistakes are seen
        colour = (drawing.BLUE if row == column else drawing.ORANGE, _STRONGEST * float(shade))
        axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, facecolor=colour, linewidth=0))
        axes.text(column, row, texts[row][column], ha="center", va="center", linespacing=1.6, fontsize=_size(names))
    _frame(axes, [shorten(name, 16) for name in names])
    return figure


def _size(names: Sequence[str]) -> float:
    return 13 if len(names) <= 3 else 11 if len(names) <= 14 else 10


def _frame(axes: Axes, names: Sequence[str]) -> None:
    slanted = len(names) * max(map(len, names)) > (90 if len(names) >= _FULL_WIDTH_FROM else 40)
    axes.set_xticks(range(len(names)), names)
    if slanted:
        for label in axes.get_xticklabels():
            label.set(rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), xlabel="predicted", ylabel="true")
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set(visible=True, alpha=0.3)
    edges = np.arange(len(names) - 1) + 0.5
    axes.vlines(edges, -0.5, len(names) - 0.5, color=drawing.INK, alpha=0.13, linewidth=0.8)
    axes.hlines(edges, -0.5, len(names) - 0.5, color=drawing.INK, alpha=0.13, linewidth=0.8)
