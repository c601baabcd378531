"""What numbers ask for: predicted against true, residuals, and quantiles of the error."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports import beside, drawing
from tasks.reports.content import Content
from tasks.reports.elements import Data, Plot, Section, Table
from tasks.reports.formatting import number, shorten

_MOST_DRAWN = 9
_COLUMNS = 3
_BINS = 40
_MANY, _TAIL = 1_000, 0.005
_PARTS, _FEWEST_IN_PART = 10, 10
_QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)


def section(content: Content) -> Section:
    """Return the section on the test rows; of many outputs the first ones are drawn."""
    test, champion = content.test, content.champion
    points = _points(test)
    dashed = "" if champion is None else " The dashed line is the champion's."
    mean = ", and its mean over tenths of the rows" if _has_parts(test.truth) else ""
    note = drawing.points_note(len(test.truth))
    if len(test.names) > _MOST_DRAWN:
        note += f" The first {_MOST_DRAWN} of {len(test.names)} outputs."
    plots = (
        Plot(
            "predicted",
            "Predicted against true",
            _grid(test, _predicted),
            points,
            f"Points on the dotted line are predicted exactly.{note}",
        ),
        Plot(
            "residuals",
            "Residuals against predicted",
            _grid(test, _residuals, champion=champion),
            points,
            f"True less predicted{mean}. A bend or a funnel says that the network misses something."
            f"{dashed if mean else ''}{note}",
        ),
        Plot(
            "residual_histogram",
            "Residuals",
            _grid(test, _histogram, champion=champion, width=drawing.FULL),
            _histograms(test, champion),
            f"True less predicted; the dotted line is no error.{dashed}"
            + (" The outermost 1 % of the rows is not drawn." if len(test.truth) >= _MANY else ""),
        ),
    )
    return Section(plots=plots, tables=(_quantiles(test), *([_beside(test, champion)] if champion else [])))


def _points(test: Scored) -> Data:
    rows, outputs = drawing.drawn(len(test.truth)), min(len(test.names), _MOST_DRAWN)
    return {
        "output": [name for name in test.names[:outputs] for _ in rows],
        "true": test.truth[rows, :outputs].T.ravel(),
        "predicted": test.predicted[rows, :outputs].T.ravel(),
    }


def _histograms(test: Scored, champion: Scored | None) -> Data:
    shown = [
        (model, name, *_bins(_residual(test, at), None if scored is test else _residual(scored, at)))
        for model, scored in (("champion", champion), ("model", test))
        if scored is not None
        for at, name in enumerate(test.names[:_MOST_DRAWN])
    ]
    return {
        "model": [model for model, _, counts, _ in shown for _ in counts],
        "output": [name for _, name, counts, _ in shown for _ in counts],
        "from": np.concatenate([edges[:-1] for *_, edges in shown]),
        "to": np.concatenate([edges[1:] for *_, edges in shown]),
        "rows": np.concatenate([counts for *_, counts, _ in shown]),
    }


def _residual(scored: Scored, at: int) -> Array:
    residual: Array = scored.truth[:, at] - scored.predicted[:, at]
    return residual


def _grid(
    test: Scored, draw: Callable[..., None], *, champion: Scored | None = None, width: int = drawing.HALF
) -> Figure:
    """Draw one panel an output, with the champion's predictions where given; `width` is that of a single one."""
    outputs = min(len(test.names), _MOST_DRAWN)
    columns = min(outputs, _COLUMNS)
    rows = -(-outputs // columns)
    figure = drawing.canvas(width, 330) if outputs == 1 else drawing.canvas(drawing.FULL, 40 + 280 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for at, axes in enumerate(panels):
        if at >= outputs:
            axes.set_visible(False)
            continue
        draw(axes, test.truth[:, at], test.predicted[:, at], *([champion.predicted[:, at]] if champion else []))
        if outputs > 1:
            axes.set_title(shorten(test.names[at], 34))
    return figure


def _predicted(axes: Axes, truth: Array, predicted: Array) -> None:
    drawing.scatter(axes, predicted, truth)
    low, high = min(truth.min(), predicted.min()), max(truth.max(), predicted.max())
    axes.plot([low, high], [low, high], color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="predicted", ylabel="true")


def _residuals(axes: Axes, truth: Array, predicted: Array, champion: Array | None = None) -> None:
    drawing.scatter(axes, predicted, truth - predicted)
    axes.axhline(0, color=drawing.INK, linewidth=0.8, linestyle=":")
    if _has_parts(truth):
        if champion is not None:
            axes.plot(*_means(truth, champion), **drawing.CHAMPION)
        axes.plot(*_means(truth, predicted), "o-", color=drawing.ORANGE, markersize=4, linewidth=1.4)
    axes.set(xlabel="predicted", ylabel="true less predicted")


def _means(truth: Array, predicted: Array) -> tuple[list[float], list[float]]:
    """Return prediction and residual in the mean over each tenth of the rows, ordered by prediction."""
    parts = np.array_split(np.argsort(predicted, kind="stable"), _PARTS)
    at, mean = ([float(values[part].mean()) for part in parts] for values in (predicted, truth - predicted))
    return at, mean


def _has_parts(truth: Array) -> bool:
    return len(truth) >= _PARTS * _FEWEST_IN_PART


def _histogram(axes: Axes, truth: Array, predicted: Array, champion: Array | None = None) -> None:
    counts, edges = _bins(truth - predicted)
    axes.stairs(counts, edges, fill=True, facecolor=(drawing.BLUE, 0.45), edgecolor="none")
    if champion is not None:
        axes.stairs(*_bins(truth - predicted, truth - champion), **drawing.CHAMPION)
    axes.axvline(0, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.set(xlabel="true less predicted", ylabel="test rows")
    drawing.count_ticks(axes.yaxis)


def _bins(residuals: Array, counted: Array | None = None) -> tuple[Array, Array]:
    """Return how many residuals, or how many of others that are counted, lie between edges that suit the residuals."""
    outermost = _TAIL if len(residuals) >= _MANY else 0
    low, high = np.quantile(residuals, (outermost, 1 - outermost))
    bins = min(_BINS, max(8, len(residuals) // 5))
    counts, edges = np.histogram(residuals if counted is None else counted, bins=bins, range=(low, high))
    return counts, edges


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


def _beside(test: Scored, champion: Scored) -> Table:
    errors, others = np.abs(test.truth - test.predicted), np.abs(champion.truth - champion.predicted)
    figures = {
        "MAE": tuple(np.average(each, axis=0, weights=test.weight) for each in (errors, others)),
        "RMSE": tuple(np.sqrt(np.average(each**2, axis=0, weights=test.weight)) for each in (errors, others)),
        "largest error": (errors.max(axis=0), others.max(axis=0)),
    }
    return beside.table("output", test.names, figures, shown=np.arange(len(test.names)))
