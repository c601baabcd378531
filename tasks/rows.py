"""Raw rows against the contract, batch by batch: typed rows that keep it, and rejected rows with their reasons."""

import difflib
import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.errors
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import BooleanColumn, DatetimeColumn, NumericColumn, TensorColumn
from schemas.contract import KEY, ROW, SPLIT, WEIGHT, Contract
from schemas.errors import DataError
from schemas.frame import frame_schema
from schemas.spec import REGRESSION, Source
from tasks import plugins
from tasks.coercion import TIMESTAMP, Coerced, Mask, coerce, to_booleans, to_label_lists, to_numbers, to_text, to_times
from tasks.row_keys import SeenKeys, row_hashes
from tasks.sources.files import File
from tasks.sources.readers import Batch, open_file

REJECTED = pa.schema([("file", pa.string()), (ROW, pa.int64()), ("reasons", pa.string()), ("record", pa.string())])
"""Rejected rows: where from, which row of the source (null for a line that does not parse), why, and the raw row."""

_TARGET_WORDS = BooleanColumn()


@dataclass(frozen=True)
class Checked:
    """A batch after the contract: rows that keep it, typed as `typed_schema` says, and those that do not."""

    accepted: pa.Table
    rejected: pa.Table


@dataclass
class Rejections:
    """What rows were rejected for: a count and the first cases for each reason."""

    counts: dict[str, int] = field(default_factory=dict)
    cases: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, cases: Sequence[str], count: int) -> None:
        """Count a reason, and keep its first three cases."""
        self.counts[reason] = self.counts.get(reason, 0) + count
        self.cases[reason] = [*self.cases.get(reason, []), *cases][:3]

    def summary(self, *, most: int = 5) -> str:
        """Return the most frequent reasons in one line, each with its count and first cases."""
        ordered = sorted(self.counts, key=lambda reason: -self.counts[reason])
        said = [f"{reason} ({self.counts[reason]:,}: {', '.join(self.cases[reason])})" for reason in ordered[:most]]
        return "; ".join(said) + (f"; and {len(ordered) - most} more reasons" if len(ordered) > most else "")


def typed_schema(contract: Contract, *, with_target: bool) -> pa.Schema:
    """Return the Arrow schema of accepted rows: row number, features, then target, weight, split and key columns."""
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
        else:
            fields.append((name, pa.string()))
    if with_target:
        kind = pa.float64() if contract.target_is_number else pa.string()
        kind = pa.list_(pa.string()) if contract.labels_in_lists else kind
        fields += [(name, kind) for name in contract.target.names]
        fields += [(WEIGHT, pa.float64())] if contract.weight else []
        fields += [(SPLIT, TIMESTAMP if contract.split_time else pa.string())] if contract.split else []
    fields += [(f"{KEY}{name}", pa.string()) for name in contract.key]
    return pa.schema(fields)


class RowReader:
    """All rows of some files, checked.

    With `with_target` (to train) target, weight and split columns must be there and keys must not repeat; without
    (to predict) only the features and keys are read.
    """

    def __init__(self, files: Sequence[File], source: Source, contract: Contract, *, with_target: bool) -> None:
        """Open nothing yet."""
        self._files, self._source, self._contract, self._with_target = files, source, contract, with_target
        self._schema = typed_schema(contract, with_target=with_target)
        self._frame_schema = frame_schema(contract, with_target=with_target)
        self._model = plugins.load(contract.model).to_schema() if contract.model and with_target else None
        self._seen = SeenKeys() if contract.key and with_target else None
        self._next_row = 0
        self.rejections = Rejections()
        self.extra: list[str] = []

    @property
    def wanted(self) -> list[str]:
        """The source's columns that are read."""
        contract = self._contract
        names = [*contract.columns, *contract.key]
        if self._with_target:
            names += [*contract.target.names, *filter(None, (contract.weight, contract.split))]
        return list(dict.fromkeys(names))

    def __iter__(self) -> Iterator[Checked]:
        """Yield the rows in order; raises DataError for what is wrong with a file as a whole."""
        for file in self._files:
            reader = open_file(file, self._source)
            self._check_names(reader.names, file.path)
            for batch in reader.batches(self.wanted):
                yield self._checked(batch, Path(file.path).name)

    def check(self, rows: pa.Table, place: str) -> Checked:
        """Return raw rows at hand, checked; `place` names them in messages."""
        self._check_names(rows.column_names, place)
        return self._checked(Batch(rows.select(self.wanted)), place)

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

    def _checked(self, batch: Batch, place: str) -> Checked:
        raw = batch.columns.combine_chunks()
        problems = _Problems(raw)
        typed = self._typed(raw, problems)
        self._validate(typed, problems)
        self._refuse_repeated_keys(typed, problems)
        accepted = typed.filter(pa.array(~problems.rows))
        rejected = problems.rejected(place, first_row=self._next_row, rejections=self.rejections)
        self._next_row += raw.num_rows
        return Checked(accepted, pa.concat_tables([rejected, self._malformed(batch, place)]))

    def _malformed(self, batch: Batch, place: str) -> pa.Table:
        for malformed in batch.malformed:
            self.rejections.add("does not parse", [malformed.reason], 1)
        rows = [
            {"file": place, ROW: None, "reasons": malformed.reason, "record": malformed.text}
            for malformed in batch.malformed
        ]
        return pa.Table.from_pylist(rows, REJECTED)

    def _typed(self, raw: pa.Table, problems: "_Problems") -> pa.Table:
        contract = self._contract
        columns = {ROW: pa.array(np.arange(self._next_row, self._next_row + raw.num_rows))}
        for name, column in contract.columns.items():
            values = coerce(_array(raw, name), column, name=name, nulls=contract.nulls)
            columns[name] = problems.taken(name, values)
            if isinstance(column, TensorColumn) and column.required:
                problems.add(name, "is missing", _missing(columns[name]))
        if self._with_target:
            columns |= {name: self._target(name, raw, problems) for name in contract.target.names}
            columns |= self._weight(raw) | self._split(raw, problems)
        for name in contract.key:
            key = to_text(_array(raw, name), contract.nulls)
            problems.add(name, "is missing, but is a key", _missing(key))
            columns[f"{KEY}{name}"] = key
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)

    def _target(self, name: str, raw: pa.Table, problems: "_Problems") -> pa.Array:
        contract, values = self._contract, _array(raw, name)
        if contract.labels_in_lists:
            labels = to_label_lists(values, separator=contract.target.separator, nulls=contract.nulls)
            problems.add(name, "is missing", _missing(labels.values))
            return labels.values
        if contract.problem in REGRESSION:
            return problems.taken(name, to_numbers(values, name=name, nulls=contract.nulls))
        if contract.target.columns:
            words = to_booleans(values, true=_TARGET_WORDS.true, false=_TARGET_WORDS.false, nulls=contract.nulls)
            return problems.taken(name, Coerced(words.values.cast(pa.float64()), words.problems))
        return to_text(values, contract.nulls)

    def _weight(self, raw: pa.Table) -> dict[str, pa.Array]:
        name = self._contract.weight
        if name is None:
            return {}
        weight = to_numbers(_array(raw, name), name=name, nulls=self._contract.nulls).values
        wrong = np.flatnonzero(~pc.greater_equal(weight, 0).fill_null(False).to_numpy(zero_copy_only=False))
        if len(wrong):
            rows = ", ".join(str(self._next_row + row) for row in wrong[:3])
            raise DataError(f"weight column {name!r} must hold numbers of 0 or more; row {rows} does not ({len(wrong)} here)")
        return {WEIGHT: weight}

    def _split(self, raw: pa.Table, problems: "_Problems") -> dict[str, pa.Array]:
        contract = self._contract
        if contract.split is None:
            return {}
        name, values = contract.split, _array(raw, contract.split)
        if contract.split_time:
            column = contract.columns.get(name)
            pattern = column.format if isinstance(column, DatetimeColumn) else None
            values = problems.taken(name, to_times(values, pattern=pattern, name=name, nulls=contract.nulls))
        else:
            values = to_text(values, contract.nulls)
        problems.add(name, "is missing, but decides the split", _missing(values))
        return {SPLIT: values}

    def _validate(self, typed: pa.Table, problems: "_Problems") -> None:
        """Let pandera look at the values: the spec's own checks, then the user's model."""
        lists = [name for name in typed.column_names if pa.types.is_nested(typed.schema.field(name).type)]
        frame = typed.drop_columns([*lists]).to_pandas()
        for schema in filter(None, (self._frame_schema, self._model)):
            try:
                schema.validate(frame, lazy=True)
            except pandera.errors.SchemaErrors as error:
                problems.add_failures(error.failure_cases)

    def _refuse_repeated_keys(self, typed: pa.Table, problems: "_Problems") -> None:
        if self._seen is None:
            return
        keys = typed.select([name for name in typed.column_names if name.startswith(KEY)])
        whole = ~problems.rows
        repeated = np.zeros(len(whole), bool)
        repeated[whole] = self._seen.add(row_hashes(keys.filter(pa.array(whole))))
        problems.add(", ".join(self._contract.key), "repeats the key of an earlier row", repeated)


class _Problems:
    """What is wrong with the rows of one batch: masks over its rows, each with a column and a reason."""

    def __init__(self, raw: pa.Table) -> None:
        self._raw = raw
        self._found: list[tuple[str, str, Mask]] = []
        self.rows: Mask = np.zeros(raw.num_rows, bool)

    def taken(self, column: str, coerced: Coerced) -> pa.Array:
        """Return coerced values, and keep what did not fit."""
        for mask, reason in coerced.problems:
            self.add(column, reason, mask)
        return coerced.values

    def add(self, column: str, reason: str, mask: Mask) -> None:
        if mask.any():
            self._found.append((column, reason, mask))
            self.rows = self.rows | mask

    def add_failures(self, cases: pd.DataFrame) -> None:
        """Keep pandera's failure cases, except those of cells that did not even fit their type."""
        whole = cases[cases["index"].isna()]
        if len(whole):
            case = whole.iloc[0]
            raise DataError(f"column {case['column']!r} fails {case['check']} as a whole: {case['failure_case']!r}")
        for (column, check), group in cases.groupby(["column", "check"], sort=False):
            mask = np.zeros(len(self.rows), bool)
            mask[group["index"].to_numpy(dtype=np.int64)] = True
            for name, _, earlier in self._found:
                if name == column:
                    mask &= ~earlier
            self.add(str(column), "is missing" if check == "not_nullable" else str(check), mask)

    def rejected(self, place: str, *, first_row: int, rejections: Rejections) -> pa.Table:
        """Return the rejected rows with all their reasons, and count these."""
        at = np.flatnonzero(self.rows)
        if not len(at):
            return REJECTED.empty_table()
        said = []
        for column, reason, mask in self._found:
            rows = np.flatnonzero(mask)
            value = "" if column not in self._raw.column_names or "missing" in reason else _quoted(self._raw, column, rows[0])
            cases = [f"row {first_row + row}" for row in rows[:3]]
            rejections.add(f"{column} {reason}", [f"{cases[0]}{value}", *cases[1:]], len(rows))
            said.append(pc.if_else(pa.array(mask[at]), f"{column} {reason}", None))
        reasons = pc.binary_join_element_wise(*said, "; ", null_handling="skip")
        records = [json.dumps(row, default=str, ensure_ascii=False) for row in self._raw.take(pa.array(at)).to_pylist()]
        return pa.table([pa.repeat(place, len(at)), pa.array(at + first_row), reasons, records], schema=REJECTED)


def _quoted(raw: pa.Table, column: str, row: int) -> str:
    return f" {str(raw.column(column)[row].as_py())[:40]!r}"


def _array(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _missing(values: pa.Array) -> Any:
    return pc.is_null(values).to_numpy(zero_copy_only=False)
