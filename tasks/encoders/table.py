"""The encoder of a whole table: one fitted encoder a column, and the target's."""

from collections import Counter
from collections.abc import Iterable
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Discriminator

from schemas.columns import Column
from schemas.contract import ROW, WEIGHT, Contract
from schemas.document import Document
from schemas.errors import DataError
from tasks.encoders.base import Array, Fitter
from tasks.encoders.boolean import BooleanEncoder, BooleanFitter
from tasks.encoders.categorical import CategoryFitter, EmbeddingEncoder, OneHotEncoder, OrdinalEncoder
from tasks.encoders.datetimes import DatetimeEncoder, DatetimeFitter
from tasks.encoders.numeric import NumericEncoder, NumericFitter
from tasks.encoders.target import FittedTarget, TargetFitter
from tasks.encoders.tensor import TensorEncoder, TensorFitter
from tasks.row_keys import mix
from tasks.samples import Sample

FittedColumn = Annotated[
    NumericEncoder | OrdinalEncoder | OneHotEncoder | EmbeddingEncoder | DatetimeEncoder | BooleanEncoder | TensorEncoder,
    Discriminator("kind"),
]

_FITTERS: dict[str, type] = {
    "numeric": NumericFitter,
    "ordinal": CategoryFitter,
    "one_hot": CategoryFitter,
    "embedding": CategoryFitter,
    "datetime": DatetimeFitter,
    "boolean": BooleanFitter,
    "tensor": TensorFitter,
}

NUMBERS = "numbers"
"""The network input that holds all plain numbers side by side."""

_SAMPLE_VALUES = 20_000_000
_SAMPLE_ROWS = 200_000


class Slot(Document):
    """One input of the network."""

    name: str
    """The input's name: numbers, or embedding_0, tensor_0 and so on."""
    shape: tuple[int, ...]
    """Shape of one row: (numbers,), () for a code, or a tensor's shape."""
    columns: tuple[str, ...]
    """Names of the encoded columns that it is made of."""
    cardinality: int | None = None
    """Of an embedding: how many codes there are."""
    size: int | None = None
    """Of an embedding: length of the learned vector."""


class TableEncoder(Document):
    """Fitted encoders of all columns that had values in training, and of the target."""

    columns: tuple[FittedColumn, ...]
    """In the order of the spec."""
    target: FittedTarget
    """The target's encoder."""
    dropped: tuple[str, ...] = ()
    """Columns that had no value at all in the training split."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The network's inputs."""
        numbers = tuple(_unique(name for each in self.columns if each.slot == "numeric" for name in each.outputs))
        slots = [Slot(name=NUMBERS, shape=(len(numbers),), columns=numbers)] if numbers else []
        for index, each in enumerate(each for each in self.columns if isinstance(each, EmbeddingEncoder)):
            name = f"embedding_{index}"
            slots.append(
                Slot(name=name, shape=(), columns=(each.name,), cardinality=each.cardinality, size=each.size)
            )
        for index, each in enumerate(each for each in self.columns if isinstance(each, TensorEncoder)):
            slots.append(Slot(name=f"tensor_{index}", shape=each.shape, columns=(each.name,)))
        return tuple(slots)

    def transform(self, rows: pa.Table) -> dict[str, Array]:
        """Return the network's inputs by name, each of shape (n, *slot.shape): float32, codes int32.

        Raises DataError when a number does not fit float32 after scaling.
        """
        encoded = {each.name: each.transform(rows.column(each.name).combine_chunks()) for each in self.columns}
        for name, values in encoded.items():
            if not np.isfinite(values).all():
                row = rows.column(ROW)[int(np.argmin(np.isfinite(values.reshape(len(values), -1)).all(axis=1)))]
                raise DataError(f"column {name!r}, row {row}: too large for float32 after scaling; set maximum, or scale log")
        numbers = [encoded[each.name] for each in self.columns if each.slot == "numeric"]
        inputs = {slot.name: encoded[slot.columns[0]] for slot in self.slots if slot.name != NUMBERS}
        return ({NUMBERS: np.ascontiguousarray(np.column_stack(numbers))} if numbers else {}) | inputs

    def unknown(self, rows: pa.Table) -> Counter[str]:
        """Return how many values of each column are categories that were not kept in training."""
        return Counter({each.name: each.unknown(rows.column(each.name).combine_chunks()) for each in self.columns})


def _unique(names: Iterable[str]) -> list[str]:
    """Number names that stand twice, such as the column `a=b` and the category b of column a."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return result


def fit(contract: Contract, batches: Iterable[pa.Table]) -> TableEncoder:
    """Return the encoder fitted in one pass over typed training rows."""
    fitters = {name: _fitter(name, column) for name, column in contract.columns.items()}
    target = TargetFitter(contract)
    sampled = [name for name, fitter in fitters.items() if fitter.needs_sample]
    sample = Sample(min(_SAMPLE_ROWS, _SAMPLE_VALUES // max(1, len(sampled))))
    for rows in batches:
        for name, fitter in fitters.items():
            fitter.observe(rows.column(name).combine_chunks())
        target.observe(rows)
        sample.add(rows.select([ROW, *sampled]), mix(rows.column(ROW).to_numpy().astype(np.uint64)))
    nothing = np.zeros(0)
    fitted = {
        name: fitter.fitted(sample.rows.column(name).drop_null().to_numpy() if name in sampled else nothing)
        for name, fitter in fitters.items()
    }
    if not any(fitted.values()):
        raise DataError("no feature column has a value in the training split")
    return TableEncoder(
        columns=tuple(each for each in fitted.values() if each is not None),
        target=target.fitted(),
        dropped=tuple(name for name, each in fitted.items() if each is None),
    )


def _fitter(name: str, column: Column) -> Fitter:
    fitter: Fitter = _FITTERS[column.kind](name, column)
    return fitter


def weights(rows: pa.Table) -> Array | None:
    """Return the sample weights of typed rows, float32 of shape (n,), or None when they have none."""
    if WEIGHT not in rows.column_names:
        return None
    return rows.column(WEIGHT).to_numpy().astype(np.float32)
