"""The encoder of a whole table: one fitted encoder a column, and the target's."""

import functools
import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Discriminator, ValidationError

from schemas.columns import Column, TargetMeanColumn
from schemas.contract import ROW, WEIGHT, Contract
from schemas.document import Record
from schemas.errors import DataError
from tasks.encoders.base import TOO_LARGE, Array, Fitted, Fitter, refuse_overflow
from tasks.encoders.boolean import BooleanEncoder, BooleanFitter
from tasks.encoders.categorical import (
    CategoryEncoder,
    CategoryFitter,
    EmbeddingEncoder,
    MultiHotEncoder,
    OneHotEncoder,
    OrdinalEncoder,
)
from tasks.encoders.custom import CustomEncoder, CustomFitter
from tasks.encoders.datetimes import DatetimeEncoder, DatetimeFitter
from tasks.encoders.hashing import HashingEncoder, HashingFitter
from tasks.encoders.numeric import NumericEncoder, NumericFitter, QuantileEncoder
from tasks.encoders.target import FittedTarget, TargetFitter
from tasks.encoders.target_mean import TargetMeanEncoder, TargetMeanFitter
from tasks.encoders.tensor import TensorEncoder, TensorFitter
from tasks.encoders.text import TextEncoder, TextFitter
from tasks.parallel import workers
from tasks.row_keys import mix
from tasks.samples import Sample
from tasks.tables import single_array

FittedColumn = Annotated[
    NumericEncoder
    | QuantileEncoder
    | OrdinalEncoder
    | OneHotEncoder
    | EmbeddingEncoder
    | HashingEncoder
    | TargetMeanEncoder
    | MultiHotEncoder
    | TextEncoder
    | DatetimeEncoder
    | BooleanEncoder
    | TensorEncoder
    | CustomEncoder,
    Discriminator("kind"),
]

_FITTERS: dict[str, type] = {
    "numeric": NumericFitter,
    "ordinal": CategoryFitter,
    "one_hot": CategoryFitter,
    "embedding": CategoryFitter,
    "hashing": HashingFitter,
    "target_mean": CategoryFitter,
    "multi_hot": CategoryFitter,
    "text": TextFitter,
    "datetime": DatetimeFitter,
    "boolean": BooleanFitter,
    "tensor": TensorFitter,
    "custom": CustomFitter,
}

NUMBERS = "numbers"
"""The network input that holds all plain numbers side by side."""

TARGET = "_target."
"""What the names of the encoded target's columns begin with; a number follows."""

_SAMPLE_VALUES = 20_000_000
_SAMPLE_ROWS = 200_000


class Slot(Record):
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


class TableEncoder(Record):
    """Fitted encoders of all columns that had values in training, and of the target."""

    columns: tuple[FittedColumn, ...]
    """In the order of the spec."""
    target: FittedTarget
    """The target's encoder."""
    dropped: tuple[str, ...] = ()
    """Columns that had no value at all in the training split."""

    @functools.cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The network's inputs: the numbers, then embeddings, then tensors, each in the order of the columns."""
        taken = {f"{TARGET}{index}" for index in range(self.target.units)}
        named = {each.name: tuple(_unique(name, taken) for name in each.outputs) for each in self.columns}
        numbers = tuple(name for each in self.columns if each.slot == "numeric" for name in named[each.name])
        slots = [Slot(name=NUMBERS, shape=(len(numbers),), columns=numbers)] if numbers else []
        for name, each in self._inputs.items():
            if isinstance(each, EmbeddingEncoder | HashingEncoder):
                codes, size = each.cardinality, each.size
                slots.append(Slot(name=name, shape=(), columns=named[each.name], cardinality=codes, size=size))
            else:
                slots.append(Slot(name=name, shape=each.shape, columns=named[each.name]))
        return tuple(slots)

    @property
    def _inputs(self) -> dict[str, EmbeddingEncoder | HashingEncoder | TensorEncoder | TextEncoder]:
        """The columns that have an input of their own, by its name."""
        embeddings = [each for each in self.columns if isinstance(each, EmbeddingEncoder | HashingEncoder)]
        tensors = [each for each in self.columns if isinstance(each, TensorEncoder | TextEncoder)]
        return {f"embedding_{index}": each for index, each in enumerate(embeddings)} | {
            f"tensor_{index}": each for index, each in enumerate(tensors)
        }

    @property
    def code(self) -> dict[str, str]:
        """The SHA-256 of the sources of encoders that are the user's own, by module:factory."""
        return {each.encoder: each.source for each in self.columns if isinstance(each, CustomEncoder)}

    @property
    def width(self) -> int:
        """How many numbers and codes an encoded row has."""
        return sum(math.prod(slot.shape) for slot in self.slots)

    def transform(self, rows: pa.Table, *, training: bool = False) -> dict[str, Array]:
        """Return the network's inputs by name, each of shape (n, *slot.shape): float32, codes int32.

        Rows that the encoder was fitted on are encoded for `training` such that their own targets do not leak into
        their features. Raises DataError when a number does not fit float32 after scaling.
        """
        encoded = {each.name: self._encoded(each, rows, training=training) for each in self.columns}
        for each in self.columns:
            refuse_overflow(encoded[each.name], rows, what=f"column {each.name!r}", why=each.not_finite)
        numbers = [encoded[each.name] for each in self.columns if each.slot == "numeric"]
        inputs = {name: encoded[each.name] for name, each in self._inputs.items()}
        return ({NUMBERS: _side_by_side(numbers)} if numbers else {}) | inputs

    def _encoded(self, column: Fitted, rows: pa.Table, *, training: bool) -> Array:
        values = single_array(rows.column(column.name))
        return column.transform_training(values, rows.column(ROW).to_numpy()) if training else column.transform(values)

    def unknown(self, rows: pa.Table) -> Counter[str]:
        """Return how many values of each column are categories that were not kept in training."""
        columns = [each for each in self.columns if isinstance(each, CategoryEncoder)]
        return Counter({each.name: each.unknown(single_array(rows.column(each.name))) for each in columns})


def _side_by_side(numbers: Sequence[Array]) -> Array:
    """Return matrices of shape (n, ...) as one, column by column in memory: so they are written without a copy."""
    joined = np.empty((len(numbers[0]), sum(each.shape[1] for each in numbers)), np.float32, order="F")
    return np.concatenate(numbers, axis=1, out=joined)


def _unique(name: str, taken: set[str]) -> str:
    """Return a name, numbered if it is taken, and take it: column `a=b` and category b of column a have one name."""
    numbered = (f"{name}#{count}" for count in itertools.count(2))
    unique = next(each for each in itertools.chain([name], numbered) if each not in taken)
    taken.add(unique)
    return unique


def fit(contract: Contract, read: Callable[[], Iterable[pa.Table]]) -> TableEncoder:
    """Return the encoder fitted on typed training rows, which `read` yields from the first on each time.

    One pass is enough but for columns that become means of the target: these want a second.
    """
    fitters = {name: _fitter(name, column) for name, column in contract.columns.items()}
    target = TargetFitter(contract)
    sampled = [name for name, fitter in fitters.items() if fitter.needs_sample]
    sample = Sample(min(_SAMPLE_ROWS, _SAMPLE_VALUES // max(1, len(sampled))))
    with ThreadPoolExecutor(workers()) as pool:
        for rows in read():
            observed = [
                pool.submit(fitter.observe, single_array(rows.column(name))) for name, fitter in fitters.items()
            ]
            observed.append(pool.submit(target.observe, rows))
            sample.add(rows.select([ROW, *sampled]), mix(rows.column(ROW).to_numpy().astype(np.uint64)))
            for each in observed:
                each.result()
    fitted_target = target.fitted()
    fitted = {name: _fitted(name, fitter, sample) for name, fitter in fitters.items()}
    fitted |= _target_means(contract, fitted, fitted_target, read)
    if not any(fitted.values()):
        raise DataError("no feature column has a value in the training split")
    return TableEncoder(
        columns=tuple(each for each in fitted.values() if each is not None),
        target=fitted_target,
        dropped=tuple(name for name, each in fitted.items() if each is None),
    )


def _target_means(
    contract: Contract, fitted: Mapping[str, Any], target: FittedTarget, read: Callable[[], Iterable[pa.Table]]
) -> dict[str, TargetMeanEncoder]:
    """Return the encoders of columns whose categories are known and whose means of the target are not."""
    columns = {name: column for name, column in contract.columns.items() if isinstance(column, TargetMeanColumn)}
    fitters = {
        name: TargetMeanFitter(column, fitted[name], target.outputs) for name, column in columns.items() if fitted[name]
    }
    for rows in read() if fitters else ():
        wanted, numbers = target.encode(rows), rows.column(ROW).to_numpy()
        wanted = np.eye(target.units)[wanted] if wanted.ndim == 1 else wanted  # codes of several classes
        for name, fitter in fitters.items():
            fitter.observe(single_array(rows.column(name)), wanted, numbers)
    return {name: fitter.fitted() for name, fitter in fitters.items()}


def _fitter(name: str, column: Column) -> Fitter:
    fitter: Fitter = _FITTERS[column.kind](name, column)
    return fitter


def _fitted(name: str, fitter: Fitter, sample: Sample) -> Fitted | None:
    values = sample.rows.column(name).drop_null().to_numpy() if fitter.needs_sample else np.zeros(0)
    try:
        return fitter.fitted(values)
    except ValidationError as error:  # mean or deviation are not finite
        remedy = "set maximum, or scale log"
        raise DataError(f"column {name!r} holds numbers too large for its mean and deviation; {remedy}") from error


def weights(rows: pa.Table) -> Array | None:
    """Return the sample weights of typed rows, float32 of shape (n,), or None when they have none.

    Raises DataError when a weight does not fit float32.
    """
    if WEIGHT not in rows.column_names:
        return None
    with np.errstate(over="ignore"):
        weights = rows.column(WEIGHT).to_numpy().astype(np.float32)
    refuse_overflow(weights, rows, what="the sample weight", why=f"{TOO_LARGE}; divide all weights by the largest")
    return weights
