"""Dates and times: their parts as numbers, or as points on a circle."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import DatetimeColumn, DatetimePart
from tasks.encoders.base import Array, Fitted, Fitter, Floats, floats, missing
from tasks.moments import Moments

_PERIODS: dict[DatetimePart, tuple[float, float]] = {
    "quarter": (1, 4),
    "month": (1, 12),
    "day": (1, 31),
    "day_of_week": (0, 7),
    "day_of_year": (1, 366),
    "week_of_year": (1, 53),
    "time": (0, 86_400),
    "hour": (0, 24),
    "minute": (0, 60),
    "second": (0, 60),
    "day_part": (0, 4),
}
"""The first value of each part that comes round, and how many there are."""


def datetime_part(times: pa.Array, part: DatetimePart) -> Array:
    """Return a part of timestamps as float64 of shape (n,), NaN where they are missing.

    Weeks are those of ISO 8601; Monday is day 0 of the week.
    """
    if part == "day_part":
        return floats(pc.hour(times)) // 6
    if part == "time":
        return floats(pc.hour(times)) * 3600 + floats(pc.minute(times)) * 60 + floats(pc.second(times))
    name = "iso_week" if part == "week_of_year" else part
    return floats(getattr(pc, name)(times))


class DatetimeEncoder(Fitted):
    """Parts of a time, each scaled, or each that comes round as a sine and a cosine."""

    kind: Literal["datetime"] = "datetime"
    parts: tuple[DatetimePart, ...]
    """The parts taken."""
    cyclical: bool
    """Whether parts that come round become sine and cosine."""
    fills: tuple[float, ...]
    """What stands in for each part of a missing time: its mean."""
    centers: tuple[float, ...]
    """What is subtracted from each part."""
    scales: tuple[float, ...]
    """What each part is divided by."""
    indicator: bool
    """Whether an output says 1 where the time is missing."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """One or two names a part, then missing."""
        names = []
        for part in self.parts:
            circle = self.cyclical and part in _PERIODS
            names += [f"{self.name}.{part}.sin", f"{self.name}.{part}.cos"] if circle else [f"{self.name}.{part}"]
        return (*names, *[f"{self.name}=missing"] * self.indicator)

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, len(outputs))."""
        times, columns = _without_zone(values), list[Array]()
        for part, fill, center, scale in zip(self.parts, self.fills, self.centers, self.scales, strict=True):
            numbers = datetime_part(times, part)
            if self.cyclical and part in _PERIODS:
                first, count = _PERIODS[part]
                angle = np.where(np.isnan(numbers), np.nan, (numbers - first) * 2 * np.pi / count)
                columns += [np.nan_to_num(np.sin(angle)), np.nan_to_num(np.cos(angle))]
            else:
                columns.append((np.where(np.isnan(numbers), fill, numbers) - center) / scale)
        columns += [missing(values)] * self.indicator
        return np.column_stack(columns).astype(np.float32)


class DatetimeFitter(Fitter):
    """Collects mean and deviation of each part."""

    def __init__(self, name: str, column: DatetimeColumn) -> None:
        """Start with no rows."""
        self._name, self._column = name, column
        self._moments = {part: Moments() for part in column.parts}
        self._missing, self._rows = False, 0

    def observe(self, values: pa.Array) -> None:
        """Take a batch of timestamps."""
        self._missing |= values.null_count > 0
        known = _without_zone(values.drop_null())
        self._rows += len(known)
        for part, moments in self._moments.items():
            moments.add(datetime_part(known, part))

    def fitted(self, sample: Array) -> DatetimeEncoder | None:
        """Return the encoder."""
        if not self._rows:
            return None
        scaled = self._column.scale == "standard"
        moments = self._moments.values()
        return DatetimeEncoder(
            name=self._name,
            parts=self._column.parts,
            cyclical=self._column.cyclical,
            fills=tuple(each.mean for each in moments),
            centers=tuple(each.mean if scaled else 0.0 for each in moments),
            scales=tuple(each.scale if scaled else 1.0 for each in moments),
            indicator=self._missing,
        )


def _without_zone(times: pa.Array) -> pa.Array:
    """Return times in UTC as such without a zone: Arrow would look each of them up in it."""
    return times.cast(pa.timestamp("us"))
