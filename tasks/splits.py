"""Which split a row belongs to, decided row by row so that it stays there in later runs."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.contract import SPLIT, Contract
from schemas.data import REGRESSION, ColumnSplit, GroupSplit, HashSplit, Split, TimeSplit
from schemas.errors import DataError
from tasks.ranks import Numbers, Ranks
from tasks.row_keys import UInts, fractions, row_hashes
from tasks.tables import single_array

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
TRAIN, VALIDATION, TEST = range(3)
NOWHERE = -1

Codes = np.ndarray[Any, np.dtype[np.int8]]

Flags = np.ndarray[Any, np.dtype[np.bool_]]
RareRows = np.ndarray[Any, np.dtype[np.void]]

_RARE_ROW = np.dtype([("label", np.int64), ("hash", np.uint64), ("row", np.int64), ("code", np.int8)])
_REMEDY = (
    "collect more rows, merge classes, or list target.classes and let the others be rejected; "
    "if rows of equal values are different cases, name a data.key"
)


class Splitter:
    """Assigns rows to splits: codes into SPLITS, or NOWHERE."""

    def __init__(
        self, split: Split, contract: Contract, *, times: Iterable[pa.Array] = (), disk: Path | None = None
    ) -> None:
        """Prepare; a split by time needs all times once, to find those that bound the fractions.

        They are in a file in `disk` meanwhile, 8 bytes each.
        """
        self._split, self._contract = split, contract
        self._bounds = _time_bounds(split, times, disk) if isinstance(split, TimeSplit) else np.zeros(0, np.int64)

    def assign(self, rows: pa.Table, hashes: UInts) -> Codes:
        """Return a code for each row, shape (rows,)."""
        if isinstance(self._split, HashSplit):
            return _by_fraction(hashes, self._split)
        if isinstance(self._split, GroupSplit):
            return _by_fraction(row_hashes(rows.select([SPLIT])), self._split)
        if isinstance(self._split, TimeSplit):
            times = rows.column(SPLIT).cast(pa.int64()).to_numpy()
            return np.searchsorted(self._bounds, times, side="right").astype(np.int8)
        return _by_column(single_array(rows.column(SPLIT)), self._split)


def _by_fraction(hashes: UInts, split: HashSplit | GroupSplit) -> Codes:
    position = fractions(hashes, seed=split.seed)
    bounds = np.array([split.test, split.test + split.validation])
    return np.array([TEST, VALIDATION, TRAIN], np.int8)[np.searchsorted(bounds, position, side="right")]


def _by_column(values: pa.Array, split: ColumnSplit) -> Codes:
    codes = np.full(len(values), NOWHERE, np.int8)
    for code, words in enumerate((split.train, split.validation, split.test)):
        codes[pc.is_in(values, value_set=pa.array(words)).to_numpy(zero_copy_only=False)] = code
    return codes


def _time_bounds(split: TimeSplit, times: Iterable[pa.Array], disk: Path | None) -> Numbers:
    """Return the first time of validation and the first time of test, in microseconds since 1970."""
    with Ranks(disk) as known:
        for values in times:
            known.add(values.cast(pa.int64()).drop_null().to_numpy())
        if not len(known):
            raise DataError(f"split.column {split.column!r} holds no time at all")
        at = np.array([0, 1 - split.validation - split.test, 1 - split.test])
        earliest, *bounds = known.at(np.minimum((at * len(known)).astype(np.int64), len(known) - 1).tolist())
    if not earliest < bounds[0] < bounds[1]:
        raise DataError(f"split.column {split.column!r} has too few different times to split by")
    return np.array(bounds)


def labels_of(rows: pa.Table, contract: Contract) -> tuple[pa.Array, Numbers]:
    """Return all labels of the rows' targets as text, and the position of the row that each belongs to."""
    names = contract.target.names
    if contract.target_is_number:  # columns of 0 and 1, each named as its label
        at = [np.flatnonzero(rows.column(name).to_numpy() == 1) for name in names]
        positions = np.concatenate(at)
        codes = np.repeat(np.arange(len(names)), [len(each) for each in at])
        return pa.array(names, pa.string()).take(pa.array(codes)), positions
    target = single_array(rows.column(names[0]))
    if not contract.labels_in_lists:
        return target, np.arange(len(target))
    return target.flatten(), pc.list_parent_indices(target).to_numpy()


class RareLabels:
    """Sees to it that each label has rows in every split of a split by hash, by moving the fewest rows possible.

    A label with many rows misses a split too seldom to matter; of rarer ones all rows are remembered as they pass.
    Moved is the row with the smallest hash, with all that equal it, so that later runs move the same one.
    """

    def __init__(self, contract: Contract, split: Split) -> None:
        """Start with no rows."""
        known = contract.target.columns if contract.target_is_number else contract.target.classes or ()
        known = () if contract.problem in REGRESSION else known
        self._ids = {label: at for at, label in enumerate(known)}
        self._counts = np.zeros((len(known), len(SPLITS)), np.int64)
        self._rare = np.zeros(0, _RARE_ROW)
        self._most = _most_rare(split) if isinstance(split, HashSplit) else 0

    def add(self, labels: pa.Array, rows: Numbers, hashes: UInts, codes: Codes) -> None:
        """Take note of a batch: for each label, shape (n,), the number, the hash and the code of its row."""
        encoded = labels.dictionary_encode()
        known = [self._ids.setdefault(label, len(self._ids)) for label in encoded.dictionary.to_pylist()]
        ids = np.array(known, np.int64)[encoded.indices.to_numpy()]
        self._counts = np.pad(self._counts, ((0, len(self._ids) - len(self._counts)), (0, 0)))
        cells = np.bincount(ids * len(SPLITS) + codes, minlength=self._counts.size)
        self._counts += cells.reshape(self._counts.shape)
        new = np.rec.fromarrays([ids, hashes, rows, codes], dtype=_RARE_ROW)
        seen = np.concatenate([self._rare, new[self._is_rare[ids]]])
        self._rare = seen[self._is_rare[seen["label"]]]

    @property
    def _is_rare(self) -> Flags:
        rare: Flags = self._counts.sum(axis=1) <= self._most
        return rare

    @property
    def labels(self) -> list[str]:
        """All labels that some row has, sorted."""
        return sorted(label for label, at in self._ids.items() if self._counts[at].any())

    def refuse_untrained(self) -> None:
        """Raise DataError, with counts, for labels that no training row has."""
        absent = self._counts[:, TRAIN] == 0
        if absent.any():
            raise DataError(f"no row of the training split has class {self._said(absent)}; {_REMEDY}")

    def moves(self) -> dict[int, int]:
        """Return the rows that must move: row number → code. Raises DataError for labels with too few rows."""
        different = np.unique(self._rare[["label", "hash"]])["label"]
        few = self._is_rare & (np.bincount(different, minlength=len(self._counts)) < len(SPLITS))
        codes = self._rare["code"]
        for _ in SPLITS if not few.any() else ():  # a move for one label can take a row from another
            lacking = ~self._present(codes).all(axis=1)
            for label in np.flatnonzero(lacking):
                codes = _spread(self._rare, codes, int(label))
        few |= ~self._present(codes).all(axis=1)
        if few.any():
            raise DataError(
                f"too rare for training, validation and test, with fewer than {len(SPLITS)} different rows: "
                f"class {self._said(few)}; {_REMEDY}"
            )
        moved = codes != self._rare["code"]
        return dict(zip(self._rare["row"][moved].tolist(), codes[moved].tolist(), strict=True))

    def _present(self, codes: Codes) -> Flags:
        """Say which labels have rows in which splits, when the rare ones' rows have these codes: shape (labels, 3)."""
        present = self._counts > 0
        present[self._is_rare] = False
        present[self._rare["label"], codes] = True
        return present

    def _said(self, which: Flags) -> str:
        counts = {label: self._counts[at] for label, at in self._ids.items() if which[at]}
        said = [f"{label!r} ({' + '.join(map(str, counts[label]))} rows)" for label in sorted(counts)[:10]]
        return ", ".join(said) + (f" and {len(counts) - 10} more" if len(counts) > 10 else "")


def _most_rare(split: HashSplit) -> int:
    """Return how many rows a label has at most that may miss a split with a chance above one in a billion."""
    smallest = min(split.validation, split.test, 1 - split.validation - split.test)
    return math.ceil(math.log(1e-9) / math.log1p(-smallest))


def _spread(rows: RareRows, codes: Codes, label: int) -> Codes:
    """Return codes with which each split has a row of the label: the donor is the split with most different ones."""
    mine = rows["label"] == label
    hashes = {code: np.unique(rows["hash"][mine & (codes == code)]).tolist() for code in range(len(SPLITS))}
    for code in (TRAIN, TEST, VALIDATION):
        donor = max(hashes, key=lambda other: len(hashes[other]))
        if not hashes[code] and len(hashes[donor]) > 1:
            hashes[code].append(hashes[donor].pop(0))
            codes = np.where(rows["hash"] == hashes[code][0], np.int8(code), codes)
    return codes
