"""Which split a row belongs to, decided row by row so that it stays there in later runs."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.contract import KEY, ROW, SPLIT, WEIGHT, Contract
from schemas.errors import DataError
from schemas.spec import ColumnSplit, GroupSplit, HashSplit, Split, TimeSplit
from tasks.row_keys import UInts, fractions, row_hashes

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
TRAIN, VALIDATION, TEST = range(3)
NOWHERE = -1

Codes = np.ndarray[Any, np.dtype[np.int8]]

_RARE = 200


def identities(rows: pa.Table, contract: Contract) -> UInts:
    """Return a hash of each row's key or, without a key, of its features and target: shape (rows,)."""
    if contract.key:
        return row_hashes(rows.select([f"{KEY}{name}" for name in contract.key]))
    return row_hashes(rows.drop_columns([name for name in (ROW, WEIGHT, SPLIT) if name in rows.column_names]))


class Splitter:
    """Assigns rows to splits: codes into SPLITS, or NOWHERE."""

    def __init__(self, split: Split, contract: Contract, *, times: Iterable[pa.Array] = ()) -> None:
        """Prepare; a split by time needs all times once, to find those that bound the fractions."""
        self._split, self._contract = split, contract
        self._bounds = _time_bounds(split, times) if isinstance(split, TimeSplit) else None

    def assign(self, rows: pa.Table, hashes: UInts) -> Codes:
        """Return a code for each row, shape (rows,)."""
        if isinstance(self._split, HashSplit):
            return _by_fraction(hashes, self._split)
        if isinstance(self._split, GroupSplit):
            return _by_fraction(row_hashes(rows.select([SPLIT])), self._split)
        if isinstance(self._split, TimeSplit):
            times = rows.column(SPLIT).cast(pa.int64()).to_numpy()
            return np.searchsorted(self._bounds, times, side="right").astype(np.int8)
        return _by_column(rows.column(SPLIT).combine_chunks(), self._split)


def _by_fraction(hashes: UInts, split: HashSplit | GroupSplit) -> Codes:
    position = fractions(hashes, seed=split.seed)
    bounds = np.array([split.test, split.test + split.validation])
    return np.array([TEST, VALIDATION, TRAIN], np.int8)[np.searchsorted(bounds, position, side="right")]


def _by_column(values: pa.Array, split: ColumnSplit) -> Codes:
    codes = np.full(len(values), NOWHERE, np.int8)
    for code, words in enumerate((split.train, split.validation, split.test)):
        codes[pc.is_in(values, value_set=pa.array(words)).to_numpy(zero_copy_only=False)] = code
    return codes


def _time_bounds(split: TimeSplit, times: Iterable[pa.Array]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the first time of validation and the first time of test, in microseconds since 1970."""
    known = [values.cast(pa.int64()).drop_null().to_numpy() for values in times]
    ordered = np.sort(np.concatenate(known)) if known else np.zeros(0, np.int64)
    if not len(ordered):
        raise DataError(f"split.column {split.column!r} holds no time at all")
    at = np.array([1 - split.validation - split.test, 1 - split.test])
    bounds = ordered[np.minimum((at * len(ordered)).astype(np.int64), len(ordered) - 1)]
    if not ordered[0] < bounds[0] < bounds[1]:
        raise DataError(f"split.column {split.column!r} has too few different times to split by")
    return bounds


class RareLabels:
    """Sees to it that each class stands in every split, by moving the fewest rows possible.

    A class with 200 rows or more misses a split too seldom to matter; of rarer ones all rows are remembered as they pass.
    Moved is the row with the smallest hash, so that later runs move the same one.
    """

    def __init__(self) -> None:
        """Start with no rows."""
        self._counts: dict[str, int] = {}
        self._rows: dict[str, list[tuple[int, int, int]]] = {}

    def add(self, labels: pa.Array, rows: Iterable[int], hashes: UInts, codes: Codes) -> None:
        """Take note of a batch: text labels, row numbers, hashes and codes, each of shape (n,)."""
        encoded = labels.dictionary_encode()
        indices = encoded.indices.to_numpy()
        numbers = np.asarray(rows)
        for index, label in enumerate(encoded.dictionary.to_pylist()):
            at = np.flatnonzero(indices == index)
            self._counts[label] = self._counts.get(label, 0) + len(at)
            if self._counts[label] > _RARE:
                self._rows.pop(label, None)
            else:
                new = zip(hashes[at].tolist(), numbers[at].tolist(), codes[at].tolist(), strict=True)
                self._rows.setdefault(label, []).extend(new)

    @property
    def labels(self) -> list[str]:
        """All labels seen."""
        return sorted(self._counts)

    def moves(self) -> dict[int, int]:
        """Return the rows that must move: row number → code. Raises DataError for a class with fewer than three rows."""
        if few := {label: count for label, count in self._counts.items() if count < len(SPLITS)}:
            said = ", ".join(f"{label!r} ({count})" for label, count in sorted(few.items())[:10])
            raise DataError(
                f"too rare for training, validation and test: class {said} with fewer than {len(SPLITS)} rows; "
                "collect more rows, merge the classes, or list target.classes and let the others be rejected"
            )
        return {row: code for rows in self._rows.values() for row, code in _moves(rows)}


def _moves(rows: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Return (row, code) for each split that has none of the rows: the donor is the split that has most of them."""
    by_code: dict[int, list[tuple[int, int]]] = {code: [] for code in range(len(SPLITS))}
    for hashed, row, code in sorted(rows):
        by_code[code].append((hashed, row))
    moves = []
    for code in (TRAIN, TEST, VALIDATION):
        if not by_code[code]:
            donor = max(by_code, key=lambda other: len(by_code[other]))
            hashed, row = by_code[donor].pop(0)
            by_code[code].append((hashed, row))
            moves.append((row, code))
    return moves
