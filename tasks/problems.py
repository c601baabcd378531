"""What is wrong with raw rows: reasons by row, rejected rows, and their summary for a message."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.contract import ROW
from tasks import quotes
from tasks.coercion import Coerced, ColumnError, Mask

if TYPE_CHECKING:
    import pandas as pd

REJECTED = pa.schema([("file", pa.string()), (ROW, pa.int64()), ("reasons", pa.string()), ("record", pa.string())])
"""Rejected rows: where from, which row of the source (null for a line that does not parse), why, and the raw row."""


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


class Problems:
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
        """Take note of the rows in a mask, shape (n,), if there are any."""
        if mask.any():
            self._found.append((column, reason, mask))
            self.rows = self.rows | mask

    def leave_out(self, mask: Mask) -> None:
        """Forget what is wrong with the rows in a mask, shape (n,): nobody looks at them."""
        if mask.any():
            self._found = [(column, reason, found & ~mask) for column, reason, found in self._found]
            self._found = [each for each in self._found if each[2].any()]
            self.rows = self.rows & ~mask

    def add_failures(self, cases: "pd.DataFrame") -> None:
        """Keep pandera's failure cases, except those of cells that did not even fit their type."""
        whole = cases[cases["index"].isna()]
        if len(whole):
            case = whole.iloc[0]
            found = quotes.quoted(case["failure_case"])
            raise ColumnError(f"column {case['column']!r} fails {case['check']} as a whole: {found}") from None
        columns = cases["column"].where(cases["schema_context"] == "Column", "row")
        for (column, check), group in cases.groupby([columns, "check"], sort=False):
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
            tells = column in self._raw.column_names and "missing" not in reason
            value = quoted(self._raw, column, rows[0]) if tells else ""
            cases = [f"row {first_row + row}" for row in rows[:3]]
            rejections.add(f"{column} {reason}", [f"{place} {cases[0]}{value}", *cases[1:]], len(rows))
            said.append(pc.if_else(pa.array(mask[at]), f"{column} {reason}", None))
        reasons = pc.binary_join_element_wise(*said, "; ", null_handling="skip")
        raw = self._raw.take(pa.array(at))
        columns = {name: _readable(raw.column(name)).to_pylist() for name in raw.column_names}
        raw_rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
        records = [json.dumps(row, default=str, ensure_ascii=False) for row in raw_rows]
        return pa.table([pa.repeat(place, len(at)), pa.array(at + first_row), reasons, records], schema=REJECTED)


def quoted(raw: pa.Table, column: str, row: int) -> str:
    """Return a raw value for a message, behind a space."""
    return f" {quotes.quoted(str(_readable(raw.column(column).slice(row, 1))[0].as_py()))}"


def _readable(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values that Python can hold: its times end with the year 9999."""
    return values.cast(pa.string()) if pa.types.is_temporal(values.type) else values
