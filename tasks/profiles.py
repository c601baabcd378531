"""Profiles of typed rows, made in one pass beside other work."""

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.contract import Contract
from schemas.profile import ColumnProfile, Histogram, Profile
from tasks.moments import Moments
from tasks.row_keys import UInts
from tasks.samples import Sample

_SAMPLE_ROWS = 20_000
_MOST_UNIQUE = 10_000
_BINS = 30
_TOP = 20


class Profiler:
    """Collects what `Profile` shows from batches of typed rows."""

    def __init__(self, contract: Contract) -> None:
        """Start with no rows."""
        kinds = {name: column.kind for name, column in contract.columns.items()}
        target = "labels" if contract.labels_in_lists else "number" if contract.target_is_number else "label"
        self._columns = {name: _Column(kind) for name, kind in (kinds | dict.fromkeys(contract.target.names, target)).items()}
        self._sample = Sample(_SAMPLE_ROWS)
        self._rows = 0

    def add(self, rows: pa.Table, hashes: UInts) -> None:
        """Take a batch and the hashes of its rows."""
        self._rows += rows.num_rows
        self._sample.add(rows, hashes)
        for name, column in self._columns.items():
            column.add(rows.column(name).combine_chunks())

    def profile(self) -> Profile:
        """Return the profile of all rows so far."""
        sample = self._sample.rows
        return Profile(
            rows=self._rows,
            sample=sample.num_rows,
            columns={name: column.profile(sample.column(name)) for name, column in self._columns.items()},
        )




class _Column:
    """Running figures of one column."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.missing = 0
        self._moments = Moments()
        self._unique: set[Any] | None = None if kind == "tensor" else set()
        self._counts: Counter[str] = Counter()

    def add(self, values: pa.Array) -> None:
        self.missing += values.null_count
        values = values.drop_null()
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
        if not len(values):
            return
        if (numbers := _numbers(values)) is not None:
            self._moments.add(numbers)
        if pa.types.is_string(values.type) or pa.types.is_boolean(values.type):
            counts = pc.value_counts(values.cast(pa.string()))
            self._counts.update(dict(zip(counts.field(0).to_pylist(), counts.field(1).to_pylist(), strict=True)))
            if len(self._counts) > 2 * _MOST_UNIQUE:
                self._counts, self._unique = Counter(dict(self._counts.most_common(_MOST_UNIQUE))), None
        elif self._unique is not None and numbers is not None:
            self._unique.update(np.unique(numbers).tolist())
            self._unique = self._unique if len(self._unique) <= _MOST_UNIQUE else None

    def profile(self, sample: pa.ChunkedArray) -> ColumnProfile:
        unique = None if self._unique is None else len(self._unique) or len(self._counts)
        figures: dict[str, Any] = {"kind": self.kind, "missing": self.missing, "unique": unique}
        if (moments := self._moments).count:
            figures |= {
                "minimum": moments.minimum,
                "maximum": moments.maximum,
                "mean": moments.mean,
                "deviation": moments.deviation,
                "histogram": _histogram(sample),
            }
        return ColumnProfile(**figures, top=tuple(sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:_TOP]))


def _numbers(values: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    if pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if pa.types.is_timestamp(values.type):
        return values.cast(pa.int64()).to_numpy() / 1e6
    return values.to_numpy().astype(np.float64) if pa.types.is_floating(values.type) else None


def _histogram(sample: pa.ChunkedArray) -> Histogram | None:
    numbers = _numbers(sample.combine_chunks().drop_null())
    if numbers is None or not len(numbers):
        return None
    counts, edges = np.histogram(numbers, bins=_BINS)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
