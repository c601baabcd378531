"""Texts of a few words: their words and sequences of words, hashed and counted."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.encoders.base import AnyValue, Array, Fitted, Floats
from tasks.encoders.hashing import bucket_of
from tasks.row_keys import mix, text_hashes

_BETWEEN_WORDS = r"[^\p{L}\p{M}\p{N}]+"
_ODD = np.uint64(0xD6E8FEB86659FD93)


class TextEncoder(Fitted):
    """Counts of n-grams of words by the bucket of their hash (Weinberger et al., 2009), each row of length 1."""

    slot: ClassVar[Literal["numeric", "embedding", "tensor"]] = "tensor"

    kind: Literal["text"] = "text"
    buckets: int
    """How many columns there are."""
    words: int
    """The longest sequence of words that is counted."""

    @property
    def shape(self) -> tuple[int]:
        """The shape of one encoded text."""
        return (self.buckets,)

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, buckets); zeros for a text without words or a missing one."""
        encoded = values.dictionary_encode()
        texts, at = self._counts(encoded.dictionary), encoded.indices.fill_null(len(encoded.dictionary)).to_numpy()
        lengths = np.sqrt(np.einsum("ij,ij->i", texts, texts, dtype=np.float32))
        scaled = texts / np.maximum(lengths, np.float32(1))[:, None]
        return np.concatenate([scaled, np.zeros((1, self.buckets), np.float32)])[at]

    def _counts(self, texts: pa.Array) -> Floats:
        """Return how many n-grams of each text, none of them missing, fall into each bucket: (n, buckets)."""
        lists = pc.split_pattern_regex(pc.utf8_lower(texts), _BETWEEN_WORDS)
        words, rows = lists.flatten(), pc.list_parent_indices(lists).to_numpy()
        real = pc.not_equal(words, "")  # a text that begins or ends with punctuation has an empty one there
        hashes, rows = text_hashes(words.filter(real)), rows[real.to_numpy(zero_copy_only=False)]
        counts, grams = np.zeros((len(texts), self.buckets), np.float32), hashes
        for last in range(self.words):
            if last:
                grams = mix(grams[:-1] * _ODD + hashes[last:])
            first = rows[: len(grams)]
            within = first == rows[last:]
            np.add.at(counts, (first[within], bucket_of(grams[within], self.buckets)), np.float32(1))
        return counts


class TextFitter(AnyValue):
    """Takes the buckets that the column asks for."""

    def fitted(self, sample: Array) -> TextEncoder | None:
        """Return the encoder."""
        column = self._column
        return TextEncoder(name=self._name, buckets=column.buckets, words=column.words) if self._known else None
