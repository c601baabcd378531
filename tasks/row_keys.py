"""Hashes that name rows, the same in every run and on every machine, and the keys that were seen before."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.tables import single_array

UInts = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

_BITS = 24
_ODD = np.uint64(0x9E3779B97F4A7C15)


def row_hashes(table: pa.Table) -> UInts:
    """Return one 64-bit hash a row of a table's columns, shape (rows,), by `pandas.util.hash_array` per column."""
    hashes = np.zeros(table.num_rows, np.uint64)
    for column in table.columns:
        hashes = mix(hashes * _ODD + _column_hashes(single_array(column)))
    return hashes


def _column_hashes(column: pa.Array) -> UInts:
    if pa.types.is_fixed_size_list(column.type):
        return _tensor_hashes(column)
    if pa.types.is_nested(column.type):
        column = pc.binary_join(column, "\0")
    if pa.types.is_string(column.type):
        return text_hashes(column)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    numbers = column.cast(pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    return (numbers + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0


def text_hashes(texts: pa.Array, *, hash_key: str = "0123456789123456") -> UInts:
    """Return a 64-bit hash of each text, shape (n,); 0 for a missing one. Another key of 16 signs, other hashes."""
    from pandas.util import hash_array

    encoded = texts.dictionary_encode()
    texts_once = encoded.dictionary.to_numpy(zero_copy_only=False)
    known = hash_array(texts_once, hash_key=hash_key, categorize=False)
    codes = encoded.indices.fill_null(len(known)).to_numpy()
    return np.append(known, np.uint64(0))[codes]  # a missing value takes the last


def _tensor_hashes(column: pa.FixedSizeListArray) -> UInts:
    size = column.type.list_size
    values = column.values.slice(column.offset * size, len(column) * size).fill_null(0).to_numpy().reshape(-1, size)
    factors = mix(np.arange(1, size + 1, dtype=np.uint64)) | np.uint64(1)
    hashes = (mix((values + 0.0).astype(np.float64).view(np.uint64)) * factors).sum(axis=1, dtype=np.uint64)
    return np.where(pc.is_valid(column).to_numpy(zero_copy_only=False), hashes, np.uint64(0))


def mix(values: UInts) -> UInts:
    """Return well-spread 64-bit numbers for any ones: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def fractions(hashes: UInts, *, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a number in [0, 1) for each hash; another seed gives independent ones."""
    offset = np.uint64((seed + 1) * int(_ODD) % 2**64)
    return (mix(hashes + offset) >> np.uint64(11)).astype(np.float64) / 2**53


class SeenKeys:
    """The hashes that came before, 8 bytes each, in a few sorted runs that double in size.

    Two different keys share a hash with a probability of n² / 2^65: 1 in 10⁴ for n = 4·10⁷ rows.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.runs: list[UInts] = []
        self._begun = np.zeros(1 << _BITS, bool)
        """Whether a hash came that begins with these bits: of new ones most need not be looked up then."""

    def __len__(self) -> int:
        """Return how many different ones there are."""
        return sum(map(len, self.runs))

    def add(self, hashes: UInts) -> Mask:
        """Say for each hash, shape (n,), whether it came before, in an earlier call or in this one; keep them."""
        begins = hashes >> np.uint64(64 - _BITS)
        repeated = self._begun[begins]
        repeated[repeated] = self._known(hashes[repeated])
        new = np.sort(hashes[~repeated])
        if (new[1:] == new[:-1]).any():
            repeated |= _come_again(hashes)
            new = np.unique(new)
        self._begun[begins] = True
        self._merge(new)
        return repeated

    def _known(self, hashes: UInts) -> Mask:
        known = np.zeros(len(hashes), bool)
        for run in self.runs:
            known |= run[np.minimum(np.searchsorted(run, hashes), len(run) - 1)] == hashes
        return known

    def _merge(self, run: UInts) -> None:
        while self.runs and len(self.runs[-1]) <= len(run):
            run = np.sort(np.concatenate([self.runs.pop(), run]), kind="stable")  # merges what is sorted already
        if len(run):
            self.runs.append(run)


def _come_again(hashes: UInts) -> Mask:
    """Say for each hash, shape (n,), whether it stands further up as well."""
    again = np.ones(len(hashes), bool)
    again[np.unique(hashes, return_index=True)[1]] = False
    return again
