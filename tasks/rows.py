"""Raw rows against the contract, batch by batch: typed rows that keep it, and rejected rows with their reasons."""

import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandera.errors
import pyarrow as pa

from schemas.contract import KEY, ROW, SLICE, SPLIT, WEIGHT, Contract
from schemas.data import Source
from schemas.errors import DataError
from schemas.frame import frame_schema
from tasks import plugins
from tasks.coercion import ColumnError, Mask
from tasks.parallel import ahead, in_order
from tasks.periods import Bounds
from tasks.problems import REJECTED, Problems, Rejections
from tasks.repeated_keys import RepeatedKeys
from tasks.row_keys import UInts, row_hashes
from tasks.sources.batch import Batch, most_values
from tasks.sources.files import File
from tasks.sources.readers import open_file
from tasks.typed_rows import RawRows, plain, typed_schema


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
        values = [
            name for name in self._schema.names if name not in (ROW, WEIGHT, SPLIT) and not name.startswith(SLICE)
        ]
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
            values, most = 0, most_values(file.size_bytes)
            for batch in reader.batches(self.wanted):
                values += batch.columns.num_rows * len(self.wanted)
                if values > most:
                    raise DataError(f"{file.path}: a file of its size may have {most:,} values; split the file")
                yield self._numbered(batch, Path(file.path).name)

    def check(self, rows: pa.Table, place: str) -> Checked:
        """Return raw rows at hand, checked; `place` names them in messages."""
        self._check_names(rows.column_names, place)
        return self._settled(self._read(self._numbered(Batch(rows.select(self.wanted)), place)))

    def _numbered(self, batch: Batch, place: str) -> tuple[Batch, str, int]:
        """Return a raw batch with its file's name and the number of its first row."""
        first_row = self._next_row
        self._next_row += batch.columns.num_rows
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
        try:
            table = plain(batch.columns)
            rows = RawRows(table, self._contract, problems := Problems(table))
            typed = rows.typed(self._schema, first_row=first_row, with_target=self._with_target)
            self._validate(typed, problems)
            outside = rows.outside(self._period) if self._period else np.zeros(table.num_rows, bool)
        except ColumnError as error:
            raise DataError(f"{place}: {error}{_said(error.rows, first_row)}") from error
        hashes = row_hashes(typed.select(self._identity))
        return _Read(batch, place, first_row, typed, problems, outside, hashes, rows.zoned)

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
            if name != ROW and not pa.types.is_nested(column.type) and not name.startswith(SLICE):
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


def _said(rows: Mask | None, first_row: int) -> str:
    """Return a count of rows and the first of them, for a message."""
    if rows is None:
        return ""
    at = np.flatnonzero(rows)
    first = ", ".join(f"{first_row + row}" for row in at[:3])
    return f" (row {first}; {len(at):,} of rows {first_row:,} to {first_row + len(rows) - 1:,})"
