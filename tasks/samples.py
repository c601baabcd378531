"""A uniform sample of rows that does not depend on their order, and can be drawn in one pass."""

import numpy as np
import pyarrow as pa

from tasks.row_keys import UInts


class Sample:
    """The `size` rows with the smallest hashes (bottom-k sampling): all rows when there are no more than that."""

    def __init__(self, size: int) -> None:
        """Start with no rows."""
        self._size = size
        self._hashes: list[UInts] = []
        self._rows: list[pa.Table] = []
        self._bound: np.uint64 | None = None

    def add(self, rows: pa.Table, hashes: UInts) -> None:
        """Take a batch: rows and their hashes, shape (n,)."""
        if self._bound is not None:
            near = hashes < self._bound
            rows, hashes = rows.filter(pa.array(near)), hashes[near]
        self._hashes.append(hashes)
        self._rows.append(rows)
        if sum(map(len, self._hashes)) > 2 * self._size:
            self._keep_smallest()
            self._bound = self._hashes[0][-1]

    def _keep_smallest(self) -> None:
        hashes = np.concatenate(self._hashes)
        kept = np.argsort(hashes, kind="stable")[: self._size]
        self._hashes, self._rows = [hashes[kept]], [pa.concat_tables(self._rows).take(pa.array(kept))]

    @property
    def rows(self) -> pa.Table:
        """The sampled rows in the order of their hashes."""
        if not self._rows:
            raise ValueError("no batch was added")
        self._keep_smallest()
        return self._rows[0]
