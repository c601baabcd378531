"""A uniform sample of rows that does not depend on their order, and can be drawn in one pass."""

import numpy as np
import pyarrow as pa

from tasks.row_keys import UInts


class Sample:
    """The `size` rows with the smallest hashes (bottom-k sampling): all rows when there are no more than that."""

    def __init__(self, size: int) -> None:
        """Start with no rows."""
        self._size = size
        self._hashes: UInts = np.zeros(0, np.uint64)
        self._rows: pa.Table | None = None

    def add(self, rows: pa.Table, hashes: UInts) -> None:
        """Take a batch: rows and their hashes, shape (n,)."""
        if len(self._hashes) == self._size:
            near = hashes < self._hashes[-1]
            rows, hashes = rows.filter(pa.array(near)), hashes[near]
        merged = np.concatenate([self._hashes, hashes])
        kept = np.argsort(merged, kind="stable")[: self._size]
        table = rows if self._rows is None else pa.concat_tables([self._rows, rows])
        self._hashes, self._rows = merged[kept], table.take(pa.array(kept))

    @property
    def rows(self) -> pa.Table:
        """The sampled rows in the order of their hashes."""
        if self._rows is None:
            raise ValueError("no batch was added")
        return self._rows
