"""Whole numbers at some ranks among so many that memory does not hold them."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]

_AT_ONCE = 1 << 20
_DIGIT_BITS = 16
_SHIFTS = range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS)
_SIGN = np.uint64(1 << 63)


class Ranks:
    """Keeps numbers in a file, 8 bytes each, and finds those at some ranks. Used in a `with` statement."""

    def __init__(self, folder: Path | None = None) -> None:
        """Name the folder for the file, which has no name itself; by default it is the system's for such files."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._count = 0

    def __len__(self) -> int:
        """Return how many numbers there are."""
        return self._count

    def add(self, numbers: Numbers) -> None:
        """Take a batch of int64, shape (n,)."""
        self._file.write(np.ascontiguousarray(numbers).data)
        self._count += len(numbers)

    def at(self, ranks: Sequence[int]) -> Numbers:
        """Return the numbers that would stand at places, from 0, if all were sorted: int64 of shape (ranks,).

        Each pass over the file finds the next 16 bits of each, by how many numbers share those that are known.
        """
        left, found = np.array(ranks, np.int64), np.zeros(len(ranks), np.uint64)
        for shift in _SHIFTS:
            counts = np.zeros((len(ranks), 1 << _DIGIT_BITS), np.int64)
            for numbers in self._numbers():
                begins = numbers >> np.uint64(shift)
                before, digits = begins >> np.uint64(_DIGIT_BITS), begins & np.uint64((1 << _DIGIT_BITS) - 1)
                for known in np.unique(found):
                    counts[found == known] += np.bincount(
                        digits[before == known].astype(np.int64), minlength=counts.shape[1]
                    )
            up_to = counts.cumsum(axis=1)
            digit = (up_to <= left[:, None]).sum(axis=1)
            left -= np.take_along_axis(up_to - counts, digit[:, None], axis=1)[:, 0]
            found = (found << np.uint64(_DIGIT_BITS)) | digit.astype(np.uint64)
        return (found ^ _SIGN).view(np.int64)

    def _numbers(self) -> Iterator[Any]:
        """Yield the numbers as they sort without a sign: uint64 of shape (n,)."""
        self._file.seek(0)
        while chunk := self._file.read(_AT_ONCE * 8):
            yield np.frombuffer(chunk, np.uint64) ^ _SIGN

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the file."""
        self._file.close()
