"""Categories without a list of them: a hash of each value is its code."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from tasks.encoders.base import AnyValue, Array, Fitted, vector_size
from tasks.row_keys import UInts, mix, text_hashes


class HashingEncoder(Fitted):
    """A code for a learned vector: 0 for missing, from 1 on the bucket that a hash of the text falls into."""

    slot: ClassVar[Literal["numeric", "embedding", "tensor"]] = "embedding"

    kind: Literal["hashing"] = "hashing"
    buckets: int
    """How many buckets there are."""
    size: int
    """Length of the learned vector."""

    @property
    def cardinality(self) -> int:
        """How many codes there are."""
        return self.buckets + 1

    def transform(self, values: pa.Array) -> Array:
        """Return int32 codes of shape (n,)."""
        codes = bucket_of(text_hashes(values), self.buckets) + np.int32(1)
        codes[values.is_null().to_numpy(zero_copy_only=False)] = 0
        return codes


class HashingFitter(AnyValue):
    """Takes the buckets that the column asks for."""

    def fitted(self, sample: Array) -> HashingEncoder | None:
        """Return the encoder."""
        buckets, size = self._column.buckets, self._column.size
        if not self._known:
            return None
        return HashingEncoder(name=self._name, buckets=buckets, size=size or vector_size(buckets + 1))


def bucket_of(hashes: UInts, buckets: int) -> Array:
    """Return which of so many buckets each hash, shape (n,), falls into: int32 of the same shape."""
    return (mix(hashes) % np.uint64(buckets)).astype(np.int32)
