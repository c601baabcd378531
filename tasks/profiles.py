"""Profiles of typed rows, made in one pass beside other work."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import CustomColumn, TensorColumn
from schemas.contract import SPLIT, Contract
from schemas.profile import ColumnProfile, Histogram, Profile
from schemas.reference import Buckets, Categories, Marginal, Reference, Times
from tasks.drift import marginals
from tasks.moments import Moments
from tasks.row_keys import UInts
from tasks.samples import Sample
from tasks.tables import single_array

_SAMPLE_ROWS = 20_000
_MOST_UNIQUE = 10_000
_BINS = 30
_TOP = 20
_SAMPLE_VALUES = 20_000_000
_LONGEST = 256
_DRAWN = ("numeric", "datetime", "tensor", "number")
_UNLISTED = ("hashing",)


class Profiler:
    """Collects what `Profile` and `Reference` tell from batches of typed rows, with their target or without."""

    def __init__(self, contract: Contract, *, with_target: bool = True) -> None:
        """Start with no rows."""
        kinds = {
            name: column.of if isinstance(column, CustomColumn) else column.kind
            for name, column in contract.columns.items()
        }
        target = "labels" if contract.labels_in_lists else "number" if contract.target_is_number else "label"
        self._targets = contract.target.names if with_target else ()
        self._columns = {name: _Column(kind) for name, kind in (kinds | dict.fromkeys(self._targets, target)).items()}
        self._drawn = [name for name, column in self._columns.items() if column.kind in _DRAWN]
        self._texts = [name for name, column in self._columns.items() if column.kind == "text"]
        self._split = _Column("datetime") if contract.split_time and with_target else None
        widths = [column.size for column in contract.columns.values() if isinstance(column, TensorColumn)]
        self._sample = Sample(min(_SAMPLE_ROWS, _SAMPLE_VALUES // (1 + sum(widths))))
        self._rows = 0

    def add(self, rows: pa.Table, hashes: UInts) -> None:
        """Take a batch and the hashes of its rows."""
        self._rows += rows.num_rows
        self._sample.add(self._sampled(rows), hashes)
        for name, column in self._columns.items():
            column.add(single_array(rows.column(name)))
        if self._split is not None:
            self._split.add(single_array(rows.column(SPLIT)))

    def _sampled(self, rows: pa.Table) -> pa.Table:
        """Return what is sampled of a batch: numbers, and the lengths of texts."""
        lengths = {name: pc.utf8_length(rows.column(name)).cast(pa.float64()) for name in self._texts}
        drawn = {name: rows.column(name) for name in self._drawn}
        return pa.table(drawn | lengths) if drawn or lengths else rows.select(rows.column_names[:1])

    def reference(self) -> Reference:
        """Return what later data can be compared with, from the same figures."""
        sample = self._sample.rows
        sampled = {*self._drawn, *self._texts}
        found = {
            name: column.marginal(sample.column(name) if name in sampled else None, rows=self._rows)
            for name, column in self._columns.items()
        }
        split = self._split.marginal(None, rows=self._rows) if self._split else None
        times = [each for each in (split, *found.values()) if isinstance(each, Times)]
        return Reference(
            rows=self._rows,
            columns={name: each for name, each in found.items() if name not in self._targets},
            targets={name: found[name] for name in self._targets},
            period=next(iter(times), None),
        )

    def profile(self) -> Profile:
        """Return the profile of all rows so far."""
        sample = self._sample.rows
        return Profile(
            rows=self._rows,
            sample=sample.num_rows,
            columns={
                name: column.profile(sample.column(name) if name in self._drawn else None)
                for name, column in self._columns.items()
            },
        )


class _Column:
    """Running figures of one column."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.missing = 0
        self._moments = Moments()
        self._unique: set[float] | None = None if kind == "tensor" else set()
        self._words = _Words()

    def add(self, values: pa.Array) -> None:
        self.missing += values.null_count
        values = values.drop_null()
        if pa.types.is_list(values.type):
            values = pc.list_flatten(values)
        if pa.types.is_string(values.type) or pa.types.is_boolean(values.type):
            self._words.add(values.cast(pa.string()))
        elif (numbers := _numbers(values)) is not None:
            self._moments.add(numbers)
            if self._unique is not None:
                unique = np.unique(numbers)
                self._unique = self._unique.union(unique.tolist()) if len(unique) <= _MOST_UNIQUE else None
                self._unique = None if self._unique is None or len(self._unique) > _MOST_UNIQUE else self._unique

    def profile(self, sample: pa.ChunkedArray | None) -> ColumnProfile:
        words = self._words.ordered()
        known = self._unique is not None and len(words) <= _MOST_UNIQUE
        figures: dict[str, Any] = {"unique": len(self._unique or words) if known else None}
        if (moments := self._moments).count:
            figures |= {
                "minimum": moments.minimum,
                "maximum": moments.maximum,
                "mean": moments.mean,
                "deviation": moments.deviation,
                "histogram": None if sample is None else _histogram(sample),
            }
        top = tuple((entry["values"], entry["counts"]) for entry in words.slice(0, _TOP).to_pylist())
        return ColumnProfile(kind=self.kind, missing=self.missing, top=top, **figures)

    def marginal(self, sample: pa.ChunkedArray | None, *, rows: int) -> Marginal:
        """Return what is kept for later; times leave their period alone, whatever of them was sampled."""
        if self.kind == "datetime":
            bounds = (self._moments.minimum, self._moments.maximum) if self._moments.count else (None, None)
            return Times(rows=rows, missing=self.missing, earliest=bounds[0], latest=bounds[1])
        if sample is not None:
            return marginals.numbers(_row_means(sample), rows=rows, missing=self.missing)
        return self._words.marginal(rows=rows, missing=self.missing, listed=self.kind not in _UNLISTED)


class _Words:
    """Counts of texts: exact while there are few different ones, later of the most frequent ones only."""

    def __init__(self) -> None:
        self._counts = pa.table({"values": pa.array([], pa.string()), "counts": pa.array([], pa.int64())})
        self._dropped = np.zeros(marginals.BUCKETS, np.int64)

    def add(self, texts: pa.Array) -> None:
        values, counts = pc.value_counts(texts).flatten()
        values = pc.utf8_slice_codeunits(values, 0, _LONGEST)
        new = pa.table({"values": values, "counts": counts})
        self._counts = pa.concat_tables([self._counts, new])
        if len(self._counts) > 20 * _MOST_UNIQUE:
            ordered = self.ordered()
            self._counts = ordered.slice(0, 10 * _MOST_UNIQUE)
            self._dropped += marginals.bucket_counts(ordered.slice(10 * _MOST_UNIQUE))

    def ordered(self) -> pa.Table:
        """Return one count a text, the most frequent first."""
        together = self._counts.group_by("values", use_threads=False).aggregate([("counts", "sum")])
        renamed = together.rename_columns(["values", "counts"])
        return renamed.sort_by([("counts", "descending"), ("values", "ascending")])

    def marginal(self, *, rows: int, missing: int, listed: bool) -> Categories | Buckets:
        return marginals.counted(self.ordered(), self._dropped, rows=rows, missing=missing, listed=listed)


def _numbers(values: pa.Array) -> np.ndarray[Any, np.dtype[np.floating[Any]]] | None:
    """Return numbers, and times as seconds since 1970; None for what is neither."""
    if pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    if pa.types.is_timestamp(values.type):
        values = pc.divide(values.cast(pa.int64()).cast(pa.float64(), safe=False), 1e6)
    return values.to_numpy() if pa.types.is_floating(values.type) else None


def _row_means(sample: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.floating[Any]]]:
    """Return one number a row that has a value: the number itself, or the mean of a tensor's."""
    present = sample.combine_chunks().drop_null()
    numbers = _numbers(present)
    return np.zeros(0) if numbers is None or not len(present) else numbers.reshape(len(present), -1).mean(axis=1)


def _histogram(sample: pa.ChunkedArray) -> Histogram | None:
    numbers = _numbers(sample.combine_chunks().drop_null())
    if numbers is None or not len(numbers):
        return None
    counts, edges = np.histogram(numbers, bins=_BINS)
    return Histogram(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
