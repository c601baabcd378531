"""Rows within a period, told by their time. What is relative in it counts from the data, never from the clock."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.errors import DataError
from schemas.period import Days, NewestRows, Period
from tasks.coercion import TIMESTAMP, Mask
from tasks.ranks import Ranks

_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Bounds:
    """The first time that is taken and the first that is not, with a zone; None for no bound."""

    column: str
    since: datetime | None
    until: datetime | None

    def outside(self, times: pa.Array) -> Mask:
        """Return which times lie outside, shape (n,); a missing one does not."""
        early = pc.less(times, pa.scalar(self.since, TIMESTAMP)) if self.since else None
        late = pc.greater_equal(times, pa.scalar(self.until, TIMESTAMP)) if self.until else None
        masks = [mask.fill_null(False).to_numpy(zero_copy_only=False) for mask in (early, late) if mask is not None]
        return np.logical_or.reduce(masks) if masks else np.zeros(len(times), bool)

    def __str__(self) -> str:
        since = f"from {self.since:%Y-%m-%d %H:%M:%S}" if self.since else ""
        until = f"before {self.until:%Y-%m-%d %H:%M:%S}" if self.until else ""
        return f"{self.column} {' '.join(filter(None, (since, until)))}"


def nothing_inside(place: str, bounds: Bounds, times: Iterable[pa.Array]) -> DataError:
    """Return the error for a source all of whose rows lie outside: it says what times there are."""
    ends = [pc.min_max(values) for values in times]
    first = min(each["min"].as_py() for each in ends if each["min"].is_valid)
    last = max(each["max"].as_py() for each in ends if each["max"].is_valid)
    return DataError(
        f"{place}: no row lies in the period ({bounds}); the times found are {first:%Y-%m-%d %H:%M:%S} to "
        f"{last:%Y-%m-%d %H:%M:%S}; change data.since and data.until, or the window"
    )


def bounds(period: Period, times: Iterable[pa.Array], *, disk: Path | None = None) -> Bounds:
    """Return the bounds of a period. `times` are all that the source has; they are read only for a relative window.

    For a window of rows they are in a file in `disk` meanwhile, 8 bytes each.
    """
    since = period.since
    if isinstance(period.window, Days):
        since = _of_days(period, period.window.days, times)
    elif isinstance(period.window, NewestRows):
        since = _of_rows(period, period.window.rows, times, disk)
    latest = max((each for each in (since, period.since) if each is not None), default=None)
    return Bounds(period.column, latest, period.until)


def _of_days(period: Period, days: float, times: Iterable[pa.Array]) -> datetime | None:
    """Return the time from which on the newest days are counted: exactly so many before `until`."""
    after = timedelta(0)
    end = period.until
    if end is None:
        newest = [scalar.as_py() for scalar in map(pc.max, times) if scalar.is_valid]
        if not newest:
            return None
        end, after = max(newest), timedelta(microseconds=1)
    return end - timedelta(days=days) + after if end - _EARLIEST > timedelta(days=days) else None


def _of_rows(period: Period, rows: int, times: Iterable[pa.Array], disk: Path | None) -> datetime | None:
    """Return the time of the oldest of the newest rows before `until`."""
    inside = Bounds(period.column, None, period.until)
    with Ranks(disk) as known:
        for values in times:
            known.add(values.filter(pa.array(~inside.outside(values))).drop_null().cast(pa.int64()).to_numpy())
        if len(known) <= rows:
            return None
        (oldest,) = known.at([len(known) - rows]).tolist()
    return pa.scalar(oldest, pa.int64()).cast(TIMESTAMP).as_py()
