"""The data beside that which the champion was made from: what was tested, and the columns that changed most."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from schemas.drift import ColumnDrift
from schemas.reference import Categories, Marginal, Numbers, Reference
from tasks.drift.references import Comparison
from tasks.encoders.base import Array
from tasks.reports import drawing
from tasks.reports.elements import Data, Plot, Section, Table
from tasks.reports.formatting import number, plain, shorten

_MOST_DRAWN, _MOST_LISTED = 6, 100
_BINS, _FEW_VALUES, _MOST_BARS = 30, 12, 10
_SIDES = ("champion's data", "now")


def section(found: Comparison) -> Section:
    """Return the section: the outcome in a sentence, the columns that changed most, a row for each column."""
    report = found.report
    summary = report.summary.reason
    return Section(
        notes=(f"{summary[0].upper()}{summary[1:]}.",),
        plots=tuple(_plots(found, report.ordered)),
        tables=(_table(report.ordered, report.notes),),
    )


def _plots(found: Comparison, ordered: Sequence[ColumnDrift]) -> list[Plot]:
    plots: list[Plot] = []
    for column in ordered:
        sides = [_marginal(reference, column) for reference in (found.reference, found.new)]
        draw = _DRAWINGS.get(type(sides[0])) if type(sides[0]) is type(sides[1]) else None
        if draw is not None and len(plots) < _MOST_DRAWN and all(each.counts for each in sides):
            figure = drawing.canvas(drawing.HALF, 210)
            data = draw(figure.subplots(), *sides)
            title = shorten(column.name, 50) + ("" if column.role in ("feature", column.name) else f" ({column.role})")
            plots.append(Plot(f"drift_{len(plots) + 1}", title, figure, data, _caption(column)))
    return plots


def _marginal(reference: Reference, column: ColumnDrift) -> Any:
    held: Mapping[str, Mapping[str, Marginal]] = {
        "feature": reference.columns,
        "target": reference.targets,
        "prediction": reference.predictions,
    }
    return held[column.role][column.name]


def _caption(column: ColumnDrift) -> str:
    return f"{'Drifted' if column.drifted else 'Not drifted'}: {column.main.said}."


def _numbers(axes: Axes, old: Numbers, new: Numbers) -> Data:
    """Draw shares of rows in bins; of a few values a bar each. The outermost bins hold all that lies beyond."""
    values = np.union1d(old.values, new.values)
    if len(values) <= _FEW_VALUES:
        labels = [plain(float(each)) for each in values]
        return _bars(axes, labels, *(_shares(each.values, each.counts, values) for each in (old, new)))
    both = np.concatenate([np.repeat(old.values, old.counts), np.repeat(new.values, new.counts)])
    low, high = np.quantile(both, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    shares = []
    for each, color, label in zip((old, new), (drawing.ORANGE, drawing.BLUE), _SIDES, strict=True):
        counts, _ = np.histogram(np.clip(each.values, edges[0], edges[-1]), edges, weights=each.counts)
        shares.append(counts / counts.sum())
        axes.stairs(shares[-1], edges, color=color, label=label, linewidth=1.6)
        axes.stairs(shares[-1], edges, color=color, fill=True, alpha=0.12)
    _finish(axes)
    return {"from": edges[:-1], "to": edges[1:], "champion": shares[0], "now": shares[1]}


def _categories(axes: Axes, old: Categories, new: Categories) -> Data:
    """Draw the shares of the categories that are the most frequent ones in either."""
    known: dict[str, float] = {}
    for each in (old, new):
        for value, count in zip(each.values, each.counts, strict=True):
            known[value] = max(known.get(value, 0.0), count / sum(each.counts))
    values = sorted(known, key=lambda value: -known[value])[:_MOST_BARS]
    return _bars(axes, values, *(_shares(each.values, each.counts, values) for each in (old, new)))


def _shares(values: Sequence[Any], counts: Sequence[int], wanted: Sequence[Any] | Array) -> Array:
    found = dict(zip(values, counts, strict=True))
    return np.array([found.get(each, 0) for each in wanted]) / max(sum(counts), 1)


def _bars(axes: Axes, labels: Sequence[str], old: Array, new: Array) -> Data:
    places = np.arange(len(labels))
    for side, (shares, color) in enumerate(((old, drawing.ORANGE), (new, drawing.BLUE))):
        axes.bar(places + 0.4 * side - 0.2, shares, 0.38, color=color, alpha=0.85, label=_SIDES[side])
    length = max(4, math.floor(44 / len(labels)))
    axes.set_xticks(places, [shorten(label, length) for label in labels])
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")
    _finish(axes)
    return {"value": list(labels), "champion": old, "now": new}


def _finish(axes: Axes) -> None:
    axes.set(ylabel="share of rows", ylim=(0, axes.get_ylim()[1] * 1.25))
    axes.legend(loc="upper right", ncols=2)


_DRAWINGS: Mapping[type[Any], Callable[[Axes, Any, Any], Data]] = {Numbers: _numbers, Categories: _categories}


def _table(ordered: Sequence[ColumnDrift], notes: Sequence[str]) -> Table:
    more = [f"{len(ordered) - _MOST_LISTED} more columns are in drift.json."] if len(ordered) > _MOST_LISTED else []
    said = [f"{note[0].upper()}{note[1:]}." for note in notes[:20]]
    explained = (
        "p is corrected for all tests together (Benjamini–Hochberg). A column has drifted when p is small and a "
        "difference reaches the spec's bound. Wasserstein is in standard deviations of the champion's data."
    )
    rows = [
        (
            column.name if change is column.changes[0] else None,
            column.role if change is column.changes[0] else None,
            change.said,
            "drifted" if change.drifted else "not drifted",
            number(change.adjusted) if change.adjusted >= 1e-4 else "<0.0001",
        )
        for column in ordered[:_MOST_LISTED]
        for change in column.changes
    ]
    return Table(
        title="What was compared",
        header=("column", "is a", "difference", "outcome", "p"),
        rows=tuple(rows),
        text_columns=4,
        long=2,
        caption=" ".join([explained, *more, *said]),
    )
