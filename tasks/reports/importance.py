"""The importance of columns, drawn."""

import numpy as np

from tasks.findings.importance import Importance
from tasks.reports import drawing
from tasks.reports.elements import Plot, Section
from tasks.reports.formatting import shorten

_MOST_DRAWN = 30


def section(importance: Importance, *, metric: str, rows: int) -> Section:
    """Return the section; `rows` is how many test rows there are."""
    shown = importance.columns[:_MOST_DRAWN]
    figure = drawing.canvas(drawing.FULL, 60 + 24 * len(shown))
    axes = figure.subplots()
    places = np.arange(len(shown))
    axes.barh(places, [each.mean for each in shown], height=0.62, color=drawing.BLUE, alpha=0.4)
    for place, each in zip(places, shown, strict=True):
        axes.plot(each.losses, [place] * len(each.losses), "o", color=drawing.BLUE, markersize=3.5)
    axes.axvline(0, color=drawing.INK, linewidth=0.8)
    axes.set_yticks(places, [shorten(each.name, 40) for each in shown])
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlabel=f"{metric}: how much worse when shuffled")
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    data = {
        "column": [each.name for each in importance.columns for _ in each.losses],
        "loss": np.array([loss for each in importance.columns for loss in each.losses]),
    }
    repeats = len(shown[0].losses)
    said = f"How much worse {metric} gets on test rows when a raw column is shuffled, {repeats} times each."
    if importance.rows < rows:
        said += f" From {importance.rows:,} of {rows:,} rows, chosen at random."
    if len(shown) < len(importance.columns):
        said += f" The first {len(shown)} of {len(importance.columns)} columns; all are in figures/importance.csv."
    caption = f"{said} Of columns that say the same, each alone seems to matter little."
    return Section(plots=(Plot("importance", "Importance of the columns", figure, data, caption),))
