"""Slices of the test rows, drawn and listed."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from tasks.findings.slices import Slice
from tasks.reports import drawing
from tasks.reports.elements import Plot, Section, Table
from tasks.reports.formatting import number, percent, shorten

_MOST_DRAWN, _MOST_SIGNS = 60, 24


def section(slices: Sequence[Slice], *, metric: str, whole: float, rows: int) -> Section:
    """Return the section; `whole` is the metric on all test rows, of which there are `rows`."""
    return Section(plots=(_plot(slices[:_MOST_DRAWN], metric, whole),), tables=(_table(slices, metric, rows),))


def _plot(slices: Sequence[Slice], metric: str, whole: float) -> Plot:
    groups = [list(group) for _, group in itertools.groupby(slices, key=lambda each: each.column)]
    places = np.array([at + 0.9 * group for group, at in _numbered(groups)])
    figure = drawing.canvas(drawing.FULL, 90 + round(23 * (places[-1] + 1)))
    axes = figure.subplots()
    axes.axvline(whole, color=drawing.INK, linewidth=0.8, linestyle=":")
    for place, each in zip(places, slices, strict=True):
        if each.interval is not None:
            axes.plot([each.interval.low, each.interval.high], [place] * 2, color=drawing.BLUE, alpha=0.45, linewidth=3)
        if math.isfinite(each.score):
            axes.plot([each.score], [place], "o", color=drawing.BLUE, markersize=6)
    axes.set_yticks(places, [shorten(each.value, _MOST_SIGNS) for each in slices])
    first = np.cumsum([0, *(len(group) for group in groups)])[:-1]
    for at, group in zip(first, groups, strict=True):
        axes.annotate(
            shorten(group[0].column, 60), (0, places[at] - 0.75), xycoords=("axes fraction", "data"),
            xytext=(4, 0), textcoords="offset points", va="center", fontsize=10.5, fontweight="bold",
        )  # fmt: skip
    axes.set(ylim=(places[-1] + 0.7, -1.3), xlabel=metric)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    data = {
        "column": [each.column for each in slices],
        "value": [each.value for each in slices],
        "rows": [each.rows for each in slices],
        metric.partition("[")[0]: np.array([each.score for each in slices]),
        "low": np.array([each.interval.low if each.interval else math.nan for each in slices]),
        "high": np.array([each.interval.high if each.interval else math.nan for each in slices]),
    }
    caption = (
        f"{metric} of the rows with each value, with 95\u00a0% intervals. The dotted line is that of all test rows. "
        "Where an interval does not reach it, the slice differs by more than chance; of twenty alike ones, one "
        "does so all the same."
    )
    if any(shorten(each.value, _MOST_SIGNS) != each.value for each in slices):
        caption += " Long values are shortened here; the table has them."
    return Plot("slices", "Slices", figure, data, caption)


def _numbered(groups: Sequence[Sequence[Slice]]) -> list[tuple[int, int]]:
    """Return for each slice the number of its group and its own number."""
    numbers = itertools.count()
    return [(at, next(numbers)) for at, group in enumerate(groups) for _ in group]


def _table(slices: Sequence[Slice], metric: str, rows: int) -> Table:
    columns = [each.column for each in slices]
    firsts = [at == 0 or columns[at - 1] != column for at, column in enumerate(columns)]
    return Table(
        title="",
        header=("column", "value", metric, "95\u00a0% interval", "test rows", "share"),
        rows=tuple(
            (
                each.column if first else None,
                each.value,
                number(each.score),
                f"{number(each.interval.low)} to {number(each.interval.high)}" if each.interval else "–",
                number(each.rows),
                percent(each.rows / max(rows, 1)),
            )
            for each, first in zip(slices, firsts, strict=True)
        ),
        text_columns=2,
    )
