"""What numbers ask for: predicted against true, residuals, and quantiles of the error."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import drawing
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, shorten

_MOST_DRAWN = 9
_COLUMNS = 3
_BINS = 40
_MANY, _TAIL = 1_000, 0.005
_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)


def section(test: Scored) -> Section:
    """Return the section on the test rows; of many outputs the first ones are drawn."""
    note = drawing.points_note(len(test.truth))
    if len(test.names) > _MOST_DRAWN:
        note += f" The first {_MOST_DRAWN} of {len(test.names)} outputs."
    plots = (
        Plot(
            "predicted",
            "Predicted against true",
            _grid(test, _predicted),
            f"Points on the dotted line are predicted exactly.{note}",
        ),
        Plot(
            "residuals",
            "Residuals against predicted",
            _grid(test, _residuals),
            f"True less predicted. A bend or a funnel says that the network misses something.{note}",
        ),
        Plot(
            "residual_histogram",
            "Residuals",
            _grid(test, _histogram, width=drawing.FULL),
            "True less predicted; the dotted line is no error."
            + (" The outermost 1 % of the rows is not drawn." if len(test.truth) >= _MANY else ""),
        ),
    )
    return Section(plots=plots, tables=(_quantiles(test),))


def _grid(test: Scored, draw: Callable[[Axes, Array, Array], None], *, width: int = drawing.HALF) -> Figure:
    """Draw one panel for each output; `width` is that of a single one."""
    outputs = min(len(test.names), _MOST_DRAWN)
    columns = min(outputs, _COLUMNS)
    rows = -(-outputs // columns)
    figure = drawing.canvas(width, 330) if outputs == 1 else drawing.canvas(drawing.FULL, 40 + 280 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for at, axes in enumerate(panels):
        if at >= outputs:
            axes.set_visible(False)
            continue
        draw(axes, test.truth[:, at], test.predicted[:, at])
        if outputs > 1:
            axes.set_title(shorten(test.names[at], 34))
    return figure


def _predicted(axes: Axes, truth: Array, predicted: Array) -> None:
    drawing.scatter(axes, predicted, truth)
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    axes.plot([low, high], [low, high], color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="predicted", ylabel="true")


def _residuals(axes: Axes, truth: Array, predicted: Array) -> None:
    drawing.scatter(axes, predicted, truth - predicted)
    axes.axhline(0, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="predicted", ylabel="true less predicted")


def _histogram(axes: Axes, truth: Array, predicted: Array) -> None:
    residuals = truth - predicted
    outermost = _TAIL if len(residuals) >= _MANY else 0
    limits = np.quantile(residuals, (outermost, 1 - outermost))
    counts, edges = np.histogram(residuals, bins=min(_BINS, max(8, len(residuals) // 5)), range=limits)
    axes.stairs(counts, edges, fill=True, facecolor=(drawing.BLUE, 0.45), edgecolor="none")
    axes.axvline(0, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="true less predicted", ylabel="test rows")
    drawing.count_ticks(axes.yaxis)


def _quantiles(test: Scored) -> Table:
    errors = np.abs(test.truth - test.predicted)
    # The inverted distribution function is the one method that numpy has for weighted quantiles.
    quantiles = np.quantile(errors, _QUANTILES, axis=0, weights=test.weight, method="inverted_cdf")
    return Table(
        title="Absolute error",
        header=("output", *(f"{100 * quantile:g} %" for quantile in _QUANTILES), "largest", "mean of the target"),
        rows=tuple(
            (
                test.names[at],
                *(number(float(value)) for value in quantiles[:, at]),
                number(float(errors[:, at].max())),
                number(float(np.average(test.truth[:, at], weights=test.weight))),
            )
            for at in range(len(test.names))
        ),
        caption=(
            f"That share of the test rows{'' if test.weight is None else ', by weight,'} is predicted at least this "
            "closely, in the target's own units."
        ),
    )
