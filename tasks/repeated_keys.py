"""Keys that must not repeat over a whole data set, found in memory that does not grow with it.

The hashes of the first keys are compared in memory. Once there are many, all go to files, parted by their first bits,
and are compared file by file at the end. Only if some repeat there, the rows are read a second time, and the keys of
those few are told apart by 128 bits.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa

from tasks.row_keys import Mask, SeenKeys, UInts, mix, text_hashes
from tasks.tables import single_array

_MOST = 1 << 21
_AT_ONCE = 1 << 20
_BUCKETS = 256
_OTHER_KEY = "another sixteen!"


class RepeatedKeys(Protocol):
    """Says which rows repeat a key."""

    def repeated(self, hashes: UInts, keys: pa.Table) -> Mask:
        """Say for each row, by its hash and its key's columns of text, whether its key came before; shape (n,)."""


class OnePass:
    """Finds repeated keys at once, in 8 bytes of memory a key: for samples."""

    def __init__(self) -> None:
        """Start with none."""
        self._seen = SeenKeys()

    def repeated(self, hashes: UInts, keys: pa.Table) -> Mask:
        """Say which rows repeat a key."""
        return self._seen.add(hashes)


class FirstPass:
    """Finds repeated keys among the first ones at once, and of all others at the end, as `suspects`."""

    def __init__(self, folder: Path, *, most: int = _MOST) -> None:
        """Name the folder for the files of hashes, 8 bytes a key, and how many keys are compared in memory."""
        self._folder, self._most = folder, most
        self._seen = SeenKeys()
        self._repeated: list[UInts] = []
        self._waiting: list[UInts] | None = None

    def repeated(self, hashes: UInts, keys: pa.Table) -> Mask:
        """Say which rows repeat a key of the first ones; none of those that came later."""
        if self._waiting is not None:
            self._waiting.append(hashes)
            if sum(map(len, self._waiting)) > _AT_ONCE:
                self._spill()
            return np.zeros(len(hashes), bool)
        repeated = self._seen.add(hashes)
        if repeated.any():
            self._repeated.append(hashes[repeated])
        if len(self._seen) > self._most:
            self._waiting, self._seen = self._seen.runs, SeenKeys()
            self._spill()
        return repeated

    def suspects(self) -> UInts:
        """Return the hashes that repeat, sorted; none when `repeated` has found all that do."""
        if self._waiting is None:
            return np.zeros(0, np.uint64)
        self._spill()
        late = [_repeating(np.fromfile(path, np.uint64)) for path in sorted(self._folder.glob("*.keys"))]
        found = np.concatenate(late)
        return np.unique(np.concatenate([found, *self._repeated])) if len(found) else found

    def _spill(self) -> None:
        hashes = np.sort(np.concatenate([np.zeros(0, np.uint64), *(self._waiting or [])]))
        self._waiting = []
        starts = np.arange(1, _BUCKETS, dtype=np.uint64) << np.uint64(56)
        for bucket, part in enumerate(np.split(hashes, np.searchsorted(hashes, starts))):
            with (self._folder / f"{bucket:03}.keys").open("ab") as file:
                part.tofile(file)


class SecondPass:
    """Finds the rows that repeat a key among those whose hash does."""

    def __init__(self, suspects: UInts) -> None:
        """Name the hashes that repeat."""
        self._suspects, self._seen = suspects, SeenKeys()

    def repeated(self, hashes: UInts, keys: pa.Table) -> Mask:
        """Say which rows repeat a key: suspects whose second hash came before as well."""
        repeated = np.zeros(len(hashes), bool)
        at = np.flatnonzero(np.isin(hashes, self._suspects))
        repeated[at] = self._seen.add(_second_hashes(hashes[at], keys.take(pa.array(at))))
        return repeated


def _repeating(hashes: UInts) -> UInts:
    hashes.sort()
    return np.unique(hashes[1:][hashes[1:] == hashes[:-1]])


def _second_hashes(hashes: UInts, keys: pa.Table) -> UInts:
    for column in keys.columns:
        hashes = mix(hashes + text_hashes(single_array(column), hash_key=_OTHER_KEY))
    return hashes
