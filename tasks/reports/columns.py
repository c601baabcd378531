"""The profile of the columns, as rows of a table with small histograms."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from schemas.profile import ColumnProfile, Profile
from tasks.reports.formatting import UNDEFINED, moment, number, percent, plain, shorten

MOST = 200
"""More columns than this are not listed."""
_TOP = 3
_WIDTH, _HEIGHT = 120, 26


@dataclass(frozen=True)
class ColumnRow:
    """One column as text."""

    name: str
    kind: str
    missing: str
    unique: str
    values: str
    """The range, or the most frequent values."""
    center: str
    """Mean ± standard deviation."""
    bars: Markup
    """The distribution, a small SVG."""


def rows(profile: Profile) -> list[ColumnRow]:
    """Return the first 200 columns of a profile, targets first."""
    targets = ("number", "label", "labels")
    ordered = sorted(profile.columns.items(), key=lambda item: item[1].kind not in targets)
    return [_row(name, column, profile.rows) for name, column in ordered[:MOST]]


def _row(name: str, column: ColumnProfile, total: int) -> ColumnRow:
    return ColumnRow(
        name=name,
        kind=column.kind,
        missing=percent(column.missing / total if total else None),
        unique=number(column.unique),
        values=_top(column, total - column.missing) if column.top else _range(column),
        center=_center(column),
        bars=_bars([count for _, count in column.top] if column.top else _counts(column)),
    )


def _top(column: ColumnProfile, present: int) -> str:
    said = [f"{shorten(value, 28)} ({percent(count / max(present, 1))})" for value, count in column.top[:_TOP]]
    return ", ".join(said) + (", …" if len(column.top) > _TOP else "")


def _range(column: ColumnProfile) -> str:
    if column.minimum is None:
        return UNDEFINED
    said = moment if column.kind == "datetime" else plain
    return f"{said(column.minimum)} to {said(column.maximum)}"


def _center(column: ColumnProfile) -> str:
    if column.mean is None:
        return UNDEFINED
    if column.kind == "datetime":
        return moment(column.mean)
    return plain(column.mean) + ("" if column.deviation is None else f" ± {plain(column.deviation)}")


def _counts(column: ColumnProfile) -> Sequence[int]:
    return column.histogram.counts if column.histogram else ()


def _bars(counts: Sequence[int]) -> Markup:
    """Return bars of equal width, as high as the counts; a count above 0 is at least one pixel high."""
    if not counts or not max(counts):
        return Markup()
    width = min(_WIDTH / len(counts), _WIDTH / 8)
    path = ""
    for at, count in enumerate(counts):
        height = max(1.0, count / max(counts) * _HEIGHT) if count else 0.0
        if height:
            path += f"M{at * width:.4g} {_HEIGHT}v-{height:.3g}h{width * 0.85:.3g}v{height:.3g}z"
    return Markup('<svg class="bars" viewBox="0 0 {} {}" aria-hidden="true"><path d="{}"/></svg>').format(
        _WIDTH, _HEIGHT, path
    )
