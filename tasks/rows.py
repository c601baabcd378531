"""Raw rows against the contract, batch by batch: typed rows that keep it, and rejected rows with their reasons."""

import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandera.errors
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import BooleanColumn, DatetimeColumn, MultiHotColumn, NumericColumn, TensorColumn
from schemas.contract import KEY, ROW, SLICE, SPLIT, WEIGHT, Contract
from schemas.data import REGRESSION, Source
from schemas.errors import DataError
from schemas.frame import frame_schema
from tasks import plugins
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
from tasks.parallel import ahead, in_order
from tasks.periods import Bounds
from tasks.problems import REJECTED, Problems, Rejections, quoted
from tasks.repeated_keys import RepeatedKeys
from tasks.row_keys import UInts, row_hashes
from tasks.sources.batch import MAXIMUM_CELLS, Batch
from tasks.sources.files import File
from tasks.sources.readers import open_file
from tasks.tables import single_array

__all__ = ["REJECTED", "Checked", "RowReader", "typed_schema"]

_TARGET_WORDS = BooleanColumn()


@dataclass(frozen=True)
class _Read:
    """A batch after all that can be said of it alone: `typed` has every raw row, `zoned` what its times came with."""

    batch: Batch
    place: str
    first_row: int
    typed: pa.Table
    problems: Problems
    outside: Mask
    hashes: UInts
    zoned: dict[str, bool]


@dataclass(frozen=True)
class Checked:
    """A batch after the contract: rows that keep it, typed as `typed_schema` says, and those that do not."""

    accepted: pa.Table
    rejected: pa.Table
    hashes: UInts
    """What names each accepted row, shape (n,): a hash of its key or, without a key, of its features and target.
    Zeros where there is no target."""
    outside: int = 0
    """How many rows beside these are outside the period."""


def typed_schema(contract: Contract, *, with_target: bool) -> pa.Schema:
    """Return the Arrow schema of accepted rows: row number, features, then target, weight, split, slices and keys."""
    fields = [(ROW, pa.int64())]
    for name, column in contract.columns.items():
        if isinstance(column, NumericColumn):
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


class RowReader:
    """All rows of some files, checked.

    With `with_target` (to train) target, weight and split columns must be there; without (to predict) only the features
    and keys are read. With `repeated`, rows whose key it finds to repeat are rejected;
    with `period`, those outside it are neither checked nor told, but counted.
    """

    def __init__(
        self,
        files: Sequence[File],
        source: Source,
        contract: Contract,
        *,
        with_target: bool,
        repeated: RepeatedKeys | None = None,
        period: Bounds | None = None,
    ) -> None:
        """Open nothing yet."""
        self._period = period
        self._files, self._source, self._contract, self._with_target = files, source, contract, with_target
        self._schema = typed_schema(contract, with_target=with_target)
        keys = [f"{KEY}{name}" for name in contract.key]
        values = [name for name in self._schema.names if name not in (ROW, WEIGHT, SPLIT) and not _for_slices(name)]
        self._identity = (keys or values) if with_target else []
        self._frame_schema = frame_schema(contract, with_target=with_target)
        self._model = plugins.pandera_schema(contract.model) if contract.model and with_target else None
        self._repeated = repeated if contract.key else None
        self._zoned: dict[str, bool] = {}
        self._next_row = 0
        self.rejections = Rejections()
        self.extra: list[str] = []

    @property
    def wanted(self) -> list[str]:
        """The source's columns that are read."""
        contract = self._contract
        names = [*contract.columns, *contract.key]
        if self._with_target:
            names += [*contract.target.names, *filter(None, (contract.weight, contract.split)), *contract.slices]
        names += [self._period.column] if self._period else []
        return list(dict.fromkeys(names))

    def __iter__(self) -> Iterator[Checked]:
        """Yield the rows in order; raises DataError for what is wrong with a file as a whole."""
        return map(self._settled, in_order(self._read, ahead(self._batches())))

    def _batches(self) -> Iterator[tuple[Batch, str, int]]:
        """Yield raw batches, numbered."""
        for file in self._files:
            reader = open_file(file, self._source)
            self._check_names(reader.names, file.path)
            for batch in reader.batches(self.wanted):
                yield self._numbered(batch, Path(file.path).name)

    def check(self, rows: pa.Table, place: str) -> Checked:
        """Return raw rows at hand, checked; `place` names them in messages."""
        self._check_names(rows.column_names, place)
        return self._settled(self._read(self._numbered(Batch(rows.select(self.wanted)), place)))

    def _numbered(self, batch: Batch, place: str) -> tuple[Batch, str, int]:
        """Return a raw batch with its file's name and the number of its first row."""
        first_row = self._next_row
        self._next_row += batch.columns.num_rows
        if self._next_row * len(self.wanted) > MAXIMUM_CELLS:
            raise DataError(f"{place}: more than {MAXIMUM_CELLS:,} values are too many; split the source")
        return batch, place, first_row

    def _check_names(self, names: list[str], place: str) -> None:
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise DataError(f"{place}: column {repeated[0]!r} stands {names.count(repeated[0])} times; rename one")
        folded: dict[str, str] = {}
        for name in names:
            alike = folded.setdefault(unicodedata.normalize("NFC", name.strip().casefold()), name)
            if alike != name:
                raise DataError(f"{place}: columns {alike!r} and {name!r} differ only in case, spaces or accents' form")
        if missing := [name for name in self.wanted if name not in names]:
            raise DataError(f"{place}: {self._missing(missing, names)}")
        self.extra = list(dict.fromkeys([*self.extra, *(name for name in names if name not in self.wanted)]))

    def _missing(self, missing: list[str], names: list[str]) -> str:
        for delimiter in ";\t|,":
            if len(names) == 1 and delimiter in names[0]:
                return f"only one column is found; set data.delimiter to {delimiter!r}"
        near = difflib.get_close_matches(missing[0], names, n=1)
        hint = f"; is it {near[0]!r}?" if near else f"; there are {', '.join(map(repr, names[:20]))}"
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"column {missing[0]!r}{more} is missing{hint}"

    def _read(self, raw: tuple[Batch, str, int]) -> _Read:
        """Type, check and hash a batch, whatever came before it."""
        batch, place, first_row = raw
        zoned: dict[str, bool] = {}
        try:
            table = _plain(batch.columns)
            problems = Problems(table)
            typed = self._typed(table, problems, first_row, zoned)
            self._validate(typed, problems)
            outside = self._outside(table, problems, zoned)
        except ColumnError as error:
            raise DataError(f"{place}: {error}{_said(error.rows, first_row)}") from error
        hashes = row_hashes(typed.select(self._identity))
        return _Read(batch, place, first_row, typed, problems, outside, hashes, zoned)

    def _settled(self, read: _Read) -> Checked:
        """Compare a batch with those before it, and part its rows."""
        self._refuse_other_zones(read)
        problems, hashes, place = read.problems, read.hashes, read.place
        self._refuse_repeated_keys(read)
        good = ~(problems.rows | read.outside)
        accepted = read.typed if good.all() else read.typed.filter(pa.array(good))
        rejected = problems.rejected(place, first_row=read.first_row, rejections=self.rejections)
        rejected = pa.concat_tables([rejected, self._malformed(read.batch, place)])
        return Checked(accepted, rejected, hashes[good], int(read.outside.sum()))

    def _malformed(self, batch: Batch, place: str) -> pa.Table:
        for malformed in batch.malformed:
            self.rejections.add("does not parse", [malformed.reason], 1)
        rows = [
            {"file": place, ROW: None, "reasons": malformed.reason, "record": malformed.text}
            for malformed in batch.malformed
        ]
        return pa.Table.from_pylist(rows, REJECTED)

    def _typed(self, raw: pa.Table, problems: Problems, first_row: int, zoned: dict[str, bool]) -> pa.Table:
        contract = self._contract
        columns = {ROW: pa.array(np.arange(first_row, first_row + raw.num_rows))}
        for name, column in contract.columns.items():
            values = coerce(_array(raw, name), column, name=name, nulls=contract.nulls)
            columns[name] = problems.taken(name, values)
            if values.zoned is not None:
                zoned[name] = values.zoned
            if column.required and pa.types.is_nested(columns[name].type):  # pandera sees none of these
                problems.add(name, "is missing", _missing(columns[name]))
        if self._with_target:
            columns |= self._targets(raw, problems) | self._weight(raw) | self._split(raw, problems, zoned)
            columns |= {f"{SLICE}{name}": to_text(_single(raw, name), contract.nulls) for name in contract.slices}
        for name in contract.key:
            key = to_text(_single(raw, name), contract.nulls)
            problems.add(name, "is missing, but is a key", _missing(key))
            columns[f"{KEY}{name}"] = key
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)

    def _outside(self, raw: pa.Table, problems: Problems, zoned: dict[str, bool]) -> Mask:
        """Return which rows are outside the period, shape (n,); whatever is wrong with them is of no account."""
        if self._period is None:
            return np.zeros(raw.num_rows, bool)
        name, contract = self._period.column, self._contract
        times = to_times(_array(raw, name), pattern=contract.time_format(name), name=name, nulls=contract.nulls)
        if name not in contract.columns and name != contract.split:  # otherwise it is told already
            problems.taken(name, times)
        if times.zoned is not None:
            zoned.setdefault(name, times.zoned)
        problems.add(name, "is missing, but decides the period", _missing(times.values))
        outside = self._period.outside(times.values)
        problems.leave_out(outside)
        return outside

    def _targets(self, raw: pa.Table, problems: Problems) -> dict[str, pa.Array]:
        target = self._contract.target
        found = {name: self._target(name, raw, problems) for name in target.names}
        if self._contract.problem == "multiclass" and target.columns:
            ones = np.sum([each.fill_null(0).to_numpy() for each in found.values()], axis=0)
            problems.add(", ".join(found), "are not 1 in exactly one column", ones != 1)
        return found

    def _target(self, name: str, raw: pa.Table, problems: Problems) -> pa.Array:
        contract, values = self._contract, _array(raw, name)
        if contract.labels_in_lists:
            nulls = [null for null in contract.nulls if null]  # an empty text is an empty list
            coerced = to_label_lists(values, separator=contract.target.separator, nulls=nulls, name=name)
            labels = problems.taken(name, coerced)
            problems.add(name, "is missing", _missing(labels))
            if contract.target.classes is not None:
                strange = outside(labels, contract.target.classes)
                problems.add(name, "has a label that is not among the classes", strange)
            return labels
        if contract.problem in REGRESSION:
            return problems.taken(name, to_numbers(values, name=name, nulls=contract.nulls))
        if contract.target.columns:
            words = to_booleans(
                _single(raw, name), true=_TARGET_WORDS.true, false=_TARGET_WORDS.false, nulls=contract.nulls
            )
            return problems.taken(name, Coerced(words.values.cast(pa.float64()), words.problems))
        return to_text(_single(raw, name), contract.nulls)

    def _weight(self, raw: pa.Table) -> dict[str, pa.Array]:
        name = self._contract.weight
        if name is None:
            return {}
        weight = to_numbers(_array(raw, name), name=name, nulls=self._contract.nulls).values
        wrong = ~pc.greater_equal(weight, 0).fill_null(False).to_numpy(zero_copy_only=False)
        if wrong.any():
            value = quoted(raw, name, int(wrong.argmax()))
            raise ColumnError(f"weight column {name!r} must hold numbers of 0 or more, got{value}", wrong)
        return {WEIGHT: weight}

    def _split(self, raw: pa.Table, problems: Problems, zoned: dict[str, bool]) -> dict[str, pa.Array]:
        contract = self._contract
        if contract.split is None:
            return {}
        name, values = contract.split, _array(raw, contract.split)
        if contract.split_time:
            times = to_times(values, pattern=contract.time_format(name), name=name, nulls=contract.nulls)
            values = problems.taken(name, times)
            if times.zoned is not None:
                zoned.setdefault(name, times.zoned)
        else:
            values = to_text(_single(raw, name), contract.nulls)
        problems.add(name, "is missing, but decides the split", _missing(values))
        return {SPLIT: values}

    def _refuse_other_zones(self, read: _Read) -> None:
        """Refuse a column of times that have a zone here and had none before, or the other way round."""
        for name, zoned in read.zoned.items():
            if self._zoned.setdefault(name, zoned) != zoned:
                here, before = ("with", "without") if zoned else ("without", "with")
                raise DataError(
                    f"{read.place}: column {name!r} mixes times with and without a zone: {here} one from row "
                    f"{read.first_row:,} on, {before} one before; write all of them one way"
                )

    def _validate(self, typed: pa.Table, problems: Problems) -> None:
        """Let pandera look at the values, under the source's names: the spec's own checks, then the user's model."""
        contract = self._contract
        names = {f"{KEY}{name}": name for name in contract.key} | {WEIGHT: contract.weight, SPLIT: contract.split}
        columns: dict[str, pa.ChunkedArray] = {}
        for name, column in zip(typed.column_names, typed.columns, strict=True):
            if name != ROW and not pa.types.is_nested(column.type) and not _for_slices(name):
                columns.setdefault(names.get(name) or name, column)
        for schema, wanted in ((self._frame_schema, self._frame_schema.columns), (self._model, columns)):
            if schema is None or not wanted:
                continue
            frame = pa.table({name: columns[name] for name in wanted}).to_pandas(split_blocks=True)
            try:
                schema.validate(frame, lazy=True)
            except pandera.errors.SchemaErrors as error:
                problems.add_failures(error.failure_cases)

    def _refuse_repeated_keys(self, read: _Read) -> None:
        if self._repeated is None:
            return
        keys, whole = read.typed.select(self._identity), ~(read.problems.rows | read.outside)
        keys = keys if whole.all() else keys.filter(pa.array(whole))
        repeated = np.zeros(len(whole), bool)
        repeated[whole] = self._repeated.repeated(read.hashes[whole], keys)
        read.problems.add(", ".join(self._contract.key), "repeats the key of an earlier row", repeated)


def _for_slices(name: str) -> bool:
    return name.startswith(SLICE)


def _plain(table: pa.Table) -> pa.Table:
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


def _array(table: pa.Table, name: str) -> pa.Array:
    return single_array(table.column(name))


def _single(table: pa.Table, name: str) -> pa.Array:
    values = _array(table, name)
    if pa.types.is_nested(values.type):
        raise ColumnError(f"column {name!r} holds {values.type}, not single values; choose another column")
    return values


def _said(rows: Mask | None, first_row: int) -> str:
    """Return a count of rows and the first of them, for a message."""
    if rows is None:
        return ""
    at = np.flatnonzero(rows)
    first = ", ".join(f"{first_row + row}" for row in at[:3])
    return f" (row {first}; {len(at):,} of rows {first_row:,} to {first_row + len(rows) - 1:,})"


def _missing(values: pa.Array) -> Any:
    return pc.is_null(values).to_numpy(zero_copy_only=False)
