"""The learning curves: over epochs, and over the number of rows."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from tasks.findings.refits import Refits, Size
from tasks.reports import drawing
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, percent, shorten

_LOG_ABOVE = 50
_MOST_METRICS = 8


def section(history: Mapping[str, Any]) -> Section:
    """Return losses and metrics by epoch; `history` is what train publishes as history.json."""
    return Section(plots=(_losses(history), *([_metrics(history)] if history.get("metrics") else [])))


def _losses(history: Mapping[str, Any]) -> Plot:
    loss, validation, best = history["loss"], history["validation_loss"], history["best_epoch"]
    epochs = np.arange(1, len(loss) + 1)
    figure = drawing.canvas(drawing.FULL, 320)
    axes = figure.subplots()
    marker = "o" if len(loss) == 1 else ""
    for member in _curves(history)[1:]:
        for name, color in (("loss", drawing.BLUE), ("validation_loss", drawing.ORANGE)):
            axes.plot(epochs, member[name], color=color, linewidth=0.6, alpha=0.45)
    axes.plot(epochs, loss, color=drawing.BLUE, marker=marker, label="training")
    axes.plot(epochs, validation, color=drawing.ORANGE, linestyle=(0, (5, 1.5)), marker=marker, label="validation")
    axes.axvline(best, color=drawing.INK, linewidth=0.8, linestyle=":")
    axes.plot([best], [validation[best - 1]], "o", color=drawing.ORANGE, markersize=6, label=f"best epoch, {best}")
    values = np.concatenate([each[name] for each in _curves(history) for name in ("loss", "validation_loss")])
    if values.min() > 0 and values.max() / values.min() > _LOG_ABOVE:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    _count_epochs(axes, len(loss))
    axes.set(ylabel="loss")
    axes.legend()
    caption = f"{_kept(history)} The training loss holds penalties and dropout, the validation loss does not."
    data = {"epoch": epochs, "loss": loss, "validation_loss": validation}
    return Plot("learning_curves", "Learning curves", figure, data, caption)


def _metrics(history: Mapping[str, Any]) -> Plot:
    """Draw each metric over the epochs on axes of its own, for they have units of their own."""
    curves = {name: np.array(values, np.float64) for name, values in history["metrics"].items()}
    best, epochs = history["best_epoch"], np.arange(1, len(history["loss"]) + 1)
    drawn = list(curves)[:_MOST_METRICS]
    columns = min(len(drawn), 2)
    rows = -(-len(drawn) // columns)
    figure = drawing.canvas(drawing.FULL, 60 + 200 * rows)
    for axes, name in itertools.zip_longest(figure.subplots(rows, columns, squeeze=False).flat, drawn):
        if name is None:
            axes.set_axis_off()
            continue
        for member in history.get("members", ()):
            thin = np.array(member["metrics"][name], np.float64)
            axes.plot(epochs, thin, color=drawing.ORANGE, linewidth=0.6, alpha=0.45)
        marker = "o" if len(epochs) == 1 else ""
        axes.plot(epochs, curves[name], color=drawing.ORANGE, linestyle=(0, (5, 1.5)), marker=marker)
        axes.axvline(best, color=drawing.INK, linewidth=0.8, linestyle=":")
        axes.plot([best], curves[name][best - 1], "o", color=drawing.ORANGE, markersize=6)
        _count_epochs(axes, len(epochs))
        axes.set(ylabel=shorten(name, 36))
    by = f" by {metric}" if (metric := history.get("decided_by")) else ""
    caption = f"After each epoch, on the validation rows; the dotted line is the best epoch{by}, {best}."
    if (left := len(curves) - len(drawn)) > 0:
        caption += f" {left} more metrics are in the CSV file."
    data = {"epoch": epochs, **{f"validation_{name}": values for name, values in curves.items()}}
    return Plot("learning_metrics", "Metrics by epoch", figure, data, caption)


def _count_epochs(axes: Axes, epochs: int) -> None:
    drawing.count_ticks(axes.xaxis)
    margin = max(0.5, epochs / 100)
    axes.set(xlabel="epoch", xlim=(1 - margin, epochs + margin))


def _curves(history: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [history, *history.get("members", ())]


def _kept(history: Mapping[str, Any]) -> str:
    metric = history.get("decided_by")
    if members := history.get("members"):
        epochs = ", ".join(str(member["best_epoch"]) for member in members)
        by = f", chosen by {metric}" if metric else ""
        return (
            f"Thick lines are the means of {len(members)} members, thin ones the members. The weights kept are those "
            f"of each member's own best epoch{by}: {epochs}. The mean of their outputs has a validation loss of "
            f"{number(history['ensemble_loss'])}."
        )
    best = f"is the best by {metric} of the validation rows" if metric else "has the lowest validation loss"
    return f"The weights kept are those of epoch {history['best_epoch']}, which {best}."


def sizes_plot(sizes: Sequence[Size], *, metric: str, refitted: bool) -> Plot:
    """Draw how good networks are that learned from fewer rows."""
    rows = [size.rows for size in sizes]
    train, validation = [size.train for size in sizes], [size.validation for size in sizes]
    figure = drawing.canvas(drawing.FULL, 300)
    axes = figure.subplots()
    axes.plot(rows, train, "o-", color=drawing.BLUE, label="training")
    axes.plot(rows, validation, "o", color=drawing.ORANGE, linestyle=(0, (5, 1.5)), label="validation")
    axes.set(xlabel="training rows", ylabel=metric, xlim=(0, 1.04 * rows[-1]))
    drawing.count_ticks(axes.xaxis)
    axes.legend()
    last = "the last one on all of them, as before the refit" if refitted else "the last one is that of the report"
    caption = (
        f"Each point is a network trained anew on so many rows; {last}. Where the "
        "validation curve is still moving at its right end, more rows are what helps."
    )
    data = {"rows": rows, "train": train, "validation": validation}
    return Plot("data_sizes", "Learning curve over the number of rows", figure, data, caption)


def spread_table(refits: Refits) -> Table:
    """Return bias² and variance, and the share of the latter."""
    parts = zip(refits.names, refits.bias, refits.variance, strict=True)
    return Table(
        title="Bias² and variance",
        header=("", "bias² and noise", "variance", "together", "share of variance"),
        rows=tuple(
            (name, number(bias), number(variance), number(bias + variance), percent(variance / (bias + variance)))
            for name, bias, variance in parts
        ),
        caption=(
            f"Squared errors of {refits.count} networks on the test rows, each trained on a resample of the training "
            "rows. Variance is what more rows, a smaller network or dropout take away; bias² is what a larger network "
            "or better columns do. Noise, which nothing takes away, cannot be told from bias²."
        ),
    )
