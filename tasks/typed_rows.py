"""A batch of raw rows as typed ones: each column as what the contract says it is, and what does not fit beside it."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import (
    BooleanColumn,
    CustomColumn,
    DatetimeColumn,
    MultiHotColumn,
    NumericColumn,
    TensorColumn,
)
from schemas.contract import KEY, ROW, SLICE, SPLIT, WEIGHT, Contract
from schemas.data import REGRESSION
from tasks.coercion import (
    TIMESTAMP,
    Coerced,
    ColumnError,
    Mask,
    coerce,
    outside,
    to_booleans,
    to_label_lists,
    to_numbers,
    to_text,
    to_times,
)
from tasks.periods import Bounds
from tasks.problems import Problems, quoted
from tasks.tables import single_array

_TARGET_WORDS = BooleanColumn()


def typed_schema(contract: Contract, *, with_target: bool) -> pa.Schema:
    """Return the Arrow schema of accepted rows: row number, features, then target, weight, split, slices and keys."""
    fields = [(ROW, pa.int64())]
    for name, column in contract.columns.items():
        if isinstance(column, NumericColumn) or (isinstance(column, CustomColumn) and column.of == "numeric"):
            fields.append((name, pa.float64()))
        elif isinstance(column, DatetimeColumn):
            fields.append((name, TIMESTAMP))
        elif isinstance(column, BooleanColumn):
            fields.append((name, pa.bool_()))
        elif isinstance(column, TensorColumn):
            fields.append((name, pa.list_(pa.float32(), column.size)))
        elif isinstance(column, MultiHotColumn):
            fields.append((name, pa.list_(pa.string())))
        else:
            fields.append((name, pa.string()))
    if with_target:
        kind = pa.float64() if contract.target_is_number else pa.string()
        kind = pa.list_(pa.string()) if contract.labels_in_lists else kind
        fields += [(name, kind) for name in contract.target.names]
        fields += [(WEIGHT, pa.float64())] if contract.weight else []
        fields += [(SPLIT, TIMESTAMP if contract.split_time else pa.string())] if contract.split else []
        fields += [(f"{SLICE}{name}", pa.string()) for name in contract.slices]
    fields += [(f"{KEY}{name}", pa.string()) for name in contract.key]
    return pa.schema(fields)


@dataclass(frozen=True)
class RawRows:
    """A batch of raw rows, plain as `plain` makes them. Raises ColumnError for what is wrong with a whole column."""

    table: pa.Table
    contract: Contract
    problems: Problems
    zoned: dict[str, bool] = field(default_factory=dict)
    """Whether a column's times, once they are typed, came with a zone."""

    def typed(self, schema: pa.Schema, *, first_row: int, with_target: bool) -> pa.Table:
        """Return all rows, numbered, as their `typed_schema` says; what does not fit is null."""
        columns = {ROW: pa.array(np.arange(first_row, first_row + self.table.num_rows))} | self._features()
        if with_target:
            columns |= self._targets() | self._weight() | self._split()
            columns |= {f"{SLICE}{name}": self._text(name) for name in self.contract.slices}
        for name in self.contract.key:
            columns[f"{KEY}{name}"] = key = self._text(name)
            self.problems.add(name, "is missing, but is a key", _missing(key))
        return pa.table([columns[name] for name in schema.names], schema=schema)

    def outside(self, period: Bounds) -> Mask:
        """Return which rows are outside a period, shape (n,); whatever is wrong with them is of no account."""
        name = period.column
        times = self._times(name)
        if name not in self.contract.columns and name != self.contract.split:  # otherwise it is told already
            self.problems.taken(name, times)
        self.problems.add(name, "is missing, but decides the period", _missing(times.values))
        outside = period.outside(times.values)
        self.problems.leave_out(outside)
        return outside

    def _features(self) -> dict[str, pa.Array]:
        columns = {}
        for name, column in self.contract.columns.items():
            values = coerce(self._array(name), column, name=name, nulls=self.contract.nulls)
            columns[name] = self.problems.taken(name, values)
            if values.zoned is not None:
                self.zoned[name] = values.zoned
            if column.required and pa.types.is_nested(columns[name].type):  # pandera sees none of these
                self.problems.add(name, "is missing", _missing(columns[name]))
        return columns

    def _targets(self) -> dict[str, pa.Array]:
        target = self.contract.target
        found = {name: self._target(name) for name in target.names}
        if self.contract.problem == "multiclass" and target.columns:
            ones = np.sum([each.fill_null(0).to_numpy() for each in found.values()], axis=0)
            self.problems.add(", ".join(found), "are not 1 in exactly one column", ones != 1)
        return found

    def _target(self, name: str) -> pa.Array:
        contract = self.contract
        if contract.labels_in_lists:
            return self._label_lists(name)
        if contract.problem in REGRESSION:
            return self.problems.taken(name, to_numbers(self._array(name), name=name, nulls=contract.nulls))
        if contract.target.columns:
            words = to_booleans(
                self._single(name), true=_TARGET_WORDS.true, false=_TARGET_WORDS.false, nulls=contract.nulls
            )
            return self.problems.taken(name, Coerced(words.values.cast(pa.float64()), words.problems))
        return self._text(name)

    def _label_lists(self, name: str) -> pa.Array:
        target = self.contract.target
        nulls = [null for null in self.contract.nulls if null]  # an empty text is an empty list
        coerced = to_label_lists(self._array(name), separator=target.separator, nulls=nulls, name=name)
        labels = self.problems.taken(name, coerced)
        self.problems.add(name, "is missing", _missing(labels))
        if target.classes is not None:
            self.problems.add(name, "has a label that is not among the classes", outside(labels, target.classes))
        return labels

    def _weight(self) -> dict[str, pa.Array]:
        name = self.contract.weight
        if name is None:
            return {}
        weight = to_numbers(self._array(name), name=name, nulls=self.contract.nulls).values
        wrong = ~pc.greater_equal(weight, 0).fill_null(False).to_numpy(zero_copy_only=False)
        if wrong.any():
            value = quoted(self.table, name, int(wrong.argmax()))
            raise ColumnError(f"weight column {name!r} must hold numbers of 0 or more, got{value}", wrong)
        return {WEIGHT: weight}

    def _split(self) -> dict[str, pa.Array]:
        name = self.contract.split
        if name is None:
            return {}
        values = self.problems.taken(name, self._times(name)) if self.contract.split_time else self._text(name)
        self.problems.add(name, "is missing, but decides the split", _missing(values))
        return {SPLIT: values}

    def _times(self, name: str) -> Coerced:
        pattern, nulls = self.contract.time_format(name), self.contract.nulls
        times = to_times(self._array(name), pattern=pattern, name=name, nulls=nulls)
        if times.zoned is not None:
            self.zoned.setdefault(name, times.zoned)
        return times

    def _text(self, name: str) -> pa.Array:
        return to_text(self._single(name), self.contract.nulls)

    def _single(self, name: str) -> pa.Array:
        values = self._array(name)
        if pa.types.is_nested(values.type):
            raise ColumnError(f"column {name!r} holds {values.type}, not single values; choose another column")
        return values

    def _array(self, name: str) -> pa.Array:
        return single_array(self.table.column(name))


def plain(table: pa.Table) -> pa.Table:
    """Return raw columns as single arrays of plain types: bytes as text, extension types as what they are stored as."""
    columns = {
        name: _plain_array(name, single_array(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)


def _plain_array(name: str, values: pa.Array) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):  # too long for one array, or without any chunk
        values = pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_duration(values.type) or pa.types.is_interval(values.type):
        raise ColumnError(f"column {name!r} holds {values.type}, which no kind of column takes; write numbers")
    if pa.types.is_binary(values.type) or pa.types.is_large_binary(values.type):
        try:
            return values.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise ColumnError(f"column {name!r} holds bytes that are not UTF-8 text; write it as text") from error
    return values


def _missing(values: pa.Array) -> Mask:
    return pc.is_null(values).to_numpy(zero_copy_only=False)
