"""What fitters and fitted encoders have in common."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from schemas.contract import ROW
from schemas.document import Record
from schemas.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

TOO_LARGE = "too large for float32 after scaling"


class Fitted(Record, ABC):
    """A fitted encoder of one column. Its numbers are finite: JSON has no others."""

    model_config = ConfigDict(allow_inf_nan=False)

    slot: ClassVar[Literal["numeric", "embedding", "tensor"]] = "numeric"
    """Where the output goes: beside other numbers, into an embedding of its own, or into a tensor input of its own."""

    name: str
    """The column."""

    @abstractmethod
    def transform(self, values: pa.Array) -> Array:
        """Return encoded values: float32 of shape (n, len(outputs)); int32 codes (n,); or float32 (n, *shape)."""

    def transform_training(self, values: pa.Array, rows: Array) -> Array:
        """Return encoded values of training rows with such numbers, shape (n,): as others, unless that would leak."""
        return self.transform(values)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the numbers that come out."""
        return (self.name,)

    @property
    def not_finite(self) -> str:
        """What is wrong where an encoded number is not finite, and what helps."""
        return f"{TOO_LARGE}; set maximum, or scale log"


class Marked(Fitted, ABC):
    """A fitted encoder with one number a value, and a second where missing values are marked."""

    indicator: bool
    """Whether a second output says 1 where the value is missing."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The column, and where it is missing."""
        return (self.name, f"{self.name}=missing") if self.indicator else (self.name,)

    def marked(self, encoded: Floats, values: pa.Array) -> Floats:
        """Return encoded values of shape (n,) as a column, (n, 1), with the mark of missing ones beside it, (n, 2)."""
        return np.column_stack([encoded, missing(values)] if self.indicator else [encoded])


class Fitter(ABC):
    """Collects statistics of one column from batches of training rows."""

    needs_sample: ClassVar[bool] = False
    """Whether `fitted` needs a sample of the values, for their quantiles."""

    @abstractmethod
    def observe(self, values: pa.Array) -> None:
        """Take a batch."""

    @abstractmethod
    def fitted(self, sample: Array) -> Fitted | None:
        """Return the fitted encoder, or None when the column has no value at all.

        `sample` holds the values, float64 and without missing ones, of a uniform sample of rows (or nothing).
        """


class AnyValue(Fitter):
    """Notes whether there is any value: all that an encoder needs that learns nothing."""

    def __init__(self, name: str, column: Any) -> None:
        """Start with no rows."""
        self._name, self._column, self._known = name, column, False

    def observe(self, values: pa.Array) -> None:
        """Take a batch."""
        self._known |= values.null_count < len(values)


def vector_size(codes: int) -> int:
    """Return how long the learned vectors of so many codes are by default."""
    return min(64, round(1.6 * codes**0.56))


def refuse_overflow(encoded: Array, rows: pa.Table, *, what: str, why: str) -> None:
    """Raise DataError, with the first row, when encoded values of shape (n, ...) are not finite, and say why."""
    if np.isfinite(encoded).all():
        return
    finite = np.isfinite(encoded.reshape(len(encoded), -1)).all(axis=1)
    row, count = rows.column(ROW)[int(np.argmin(finite))], int((~finite).sum())
    raise DataError(f"{what}, row {row} (rows like it here: {count:,}): {why}")


def missing(values: pa.Array) -> Floats:
    """Return 1 where a value is missing, else 0: float32 of shape (n,)."""
    flags: Floats = pc.is_null(values).to_numpy(zero_copy_only=False).astype(np.float32)
    return flags


def floats(values: pa.Array) -> Array:
    """Return numbers as float64 of shape (n,), NaN where they are missing."""
    return values.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
