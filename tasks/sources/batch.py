"""What a reader of files yields: rows in batches of Arrow columns."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

MAXIMUM_VALUES = 20_000_000_000
"""Of a file, whatever its size: it bounds what a small one unpacks to."""
MAXIMUM_VALUES_A_BYTE = 16
"""Of a larger file: honest ones have less than one value a byte, or a few where many repeat."""
MAXIMUM_BYTES = 1 << 26
"""Of a single value or line."""
BLOCK_BYTES = 1 << 23
"""How much of a text file is parsed at once."""
EXACT = 2**53
"""From here on a float64 no longer tells every integer from the next."""


def most_values(size_bytes: int) -> int:
    """Return how many values a file of a size may have; with more something is wrong, or somebody means harm."""
    return max(MAXIMUM_VALUES, size_bytes * MAXIMUM_VALUES_A_BYTE)


@dataclass(frozen=True)
class Malformed:
    """A row that has no columns: it does not parse."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Batch:
    """Some rows of a file, and what stood among them that is no row."""

    columns: pa.Table
    malformed: list[Malformed] = field(default_factory=list)


class Reader(Protocol):
    """One open file: its column names, then its rows."""

    names: list[str]

    def batches(self, columns: list[str]) -> Iterator[Batch]:
        """Yield all rows in order with those columns; raises DataError when the file is broken."""
        ...
