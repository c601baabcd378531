"""Dates and times in text: in which form are they written?"""

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import pandas as pd
import pyarrow as pa

from schemas.columns import DatetimeColumn, DatetimePart
from schemas.errors import DataError
from tasks.coercion import to_times
from tasks.inference.guesses import Guess

_DATES = (
    *("%d.%m.%Y", "%m.%d.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%m-%d-%y", "%d %m %Y", "%Y %m %d", "%m/%Y", "%m.%Y", "%Y/%m"),
    *("%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d %B %Y", "%d. %B %Y", "%B %d, %Y", "%b %d, %Y", "%b %d %Y", "%B %d %Y"),
    *("%d-%b-%y", "%d %b %y", "%b-%Y", "%b %Y", "%B %Y", "%b-%y", "%Y-%b-%d"),
    *("%a, %d %b %Y", "%a %d %b %Y", "%A, %B %d, %Y", "%A, %d %B %Y"),
)
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p")
_ZONED = ("%d/%b/%Y:%H:%M:%S %z", "%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y")
_FORMATS = (
    *_DATES,
    *(f"{date}{gap}{clock}" for date, gap, clock in itertools.product(_DATES, (" ", "T", ", "), _CLOCKS)),
    *_CLOCKS,
    *_ZONED,
)
_TRIED = 3
"""A form that reads none of so many values is not tried on all."""

_SHORTEST, _LONGEST = 4, 40
_FITS = 0.995


@dataclass(frozen=True)
class Times:
    """How a column's times are written, and what they are."""

    format: str | None
    """As in strptime; None is ISO 8601."""
    values: "pd.Series[pd.Timestamp]"
    """The different times, in UTC."""
    other: str | None = None
    """A format that reads the values as well, as other days."""

    @property
    def parts(self) -> tuple[DatetimePart, ...]:
        """The usual parts, less those that never change; the first of each month has no weekday that matters."""
        times = self.values.dt
        parts: dict[DatetimePart, pd.Series[int]] = {
            "year": times.year,
            "month": times.month,
            "day": times.day,
            "day_of_week": times.day_of_week,
            "time": times.hour * 3600 + times.minute * 60 + times.second,
        }
        varying = [part for part, values in parts.items() if values.nunique() > 1]
        return tuple(part for part in varying if part != "day_of_week" or "day" in varying)

    @property
    def said(self) -> str:
        """From when to when, for people."""
        first, last = self.values.min(), self.values.max()
        if self.format in _CLOCKS:
            return f"{first:%H:%M} to {last:%H:%M}"
        return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}" if first < last else f"{first}"


def find_times(texts: pa.Array, *, name: str) -> Times | None:
    """Return how times are written in different texts (none of them missing), or None where they are no times."""
    first = [text.strip() for text in texts[:_TRIED].to_pylist()]
    if not all(_SHORTEST <= len(text) <= _LONGEST for text in first):
        return None
    patterns = {pattern for text in first for pattern in _by_shape().get(_shape(text), ()) if _reads(pattern, text)}
    iso = (None,) if first[0][:4].isdigit() else ()
    candidates = (*iso, *sorted(patterns, key=_FORMATS.index))
    found = [times for pattern in candidates if (times := _read(texts, pattern, name)) is not None]
    if not found:
        return None
    best = found[0]
    others = [times.format for times in found[1:] if not times.values.equals(best.values)]
    dotted = best.format is not None and best.format.startswith("%d.")  # nobody writes months first with dots
    return best if dotted or not others else Times(best.format, best.values, other=others[0])


def datetime_guess(times: Times, nulls: tuple[str, ...] | None) -> Guess:
    """Return the feature for such times."""
    if not times.parts:
        return Guess(f"nothing but {times.said}")
    column = DatetimeColumn(format=times.format, parts=times.parts, nulls=nulls)
    if times.other is None:
        return Guess(times.said, column)
    return Guess(
        f"dates, but both {times.format} and {times.other} read them; say which one: {{kind: datetime, format: ...}}"
    )


def _shape(text: str) -> str:
    """Return what is common to texts of one form: 9.9.9 for 11.06.2013, 9 a 9 for 2 May 2014."""
    letters = re.sub(r"[^\W\d]+", "a", text)
    return re.sub(r"[+-]9$", "+9", re.sub(r"\d+", "9", letters))


@cache
def _by_shape() -> dict[str, list[str]]:
    shapes: dict[str, list[str]] = {}
    for pattern in _FORMATS:
        sample = datetime(2013, 10, 26, 15, 12, 40, 123456, tzinfo=UTC).strftime(pattern)
        shapes.setdefault(_shape(sample), []).append(pattern)
    return shapes


def _reads(pattern: str, text: str) -> bool:
    try:
        datetime.strptime(text, pattern)
    except ValueError:
        return False
    return True


def _read(texts: pa.Array, pattern: str | None, name: str) -> Times | None:
    try:
        coerced = to_times(texts, pattern=pattern, name=name, nulls=())
    except DataError:  # some with a zone, some without
        return None
    if coerced.values.null_count > (1 - _FITS) * len(texts):
        return None
    return Times(pattern, pd.Series(coerced.values.drop_null().to_pandas()))
