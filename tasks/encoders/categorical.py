"""Categories: as a position, as 0/1 columns (one category a row, or a list), or as a code for a learned vector."""

import functools
from abc import ABC
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.columns import CategoricalColumn, EmbeddingColumn, MultiHotColumn, OrdinalColumn, TargetMeanColumn
from tasks.encoders.base import Array, Fitted, Fitter, Floats, Marked, vector_size
from tasks.moments import Moments

_COUNTED_AT_ONCE = 1 << 17


class CategoryEncoder(Fitted):
    """Knows the categories of a column, and no more."""

    categories: tuple[str, ...]
    """The categories that are kept, in the order of their codes."""

    @functools.cached_property
    def _known(self) -> pa.Array:
        return pa.array(self.categories, pa.string())

    def codes(self, values: pa.Array) -> Array:
        """Return positions in `categories`, int32 of shape (n,): -1 for an unknown category, -2 for a missing one."""
        encoded = values.dictionary_encode()
        found = pc.index_in(encoded.dictionary, value_set=self._known).fill_null(-1).to_numpy()
        return np.append(found, np.int32(-2))[encoded.indices.fill_null(len(found)).to_numpy()]

    def transform(self, values: pa.Array) -> Array:
        """Return the codes."""
        return self.codes(values)

    def unknown(self, values: pa.Array) -> int:
        """Return how many values are not among the categories that are kept."""
        return int((self.codes(values) == -1).sum())


class OrdinalEncoder(CategoryEncoder, Marked):
    """The position in the order of categories; -1 for an unknown one, and for a missing one, which is marked."""

    kind: Literal["ordinal"] = "ordinal"
    center: float
    """What is subtracted from the position."""
    scale: float
    """What it is divided by."""

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, 1), or (n, 2) with the indicator."""
        positions = np.maximum(self.codes(values), -1)
        scaled = ((positions - self.center) / self.scale).astype(np.float32)
        return self.marked(scaled, values)

    def inverse(self, encoded: Floats) -> list[str | None]:
        """Return the category of each row; None for an unknown or missing one."""
        positions = np.rint(encoded[:, 0] * self.scale + self.center).astype(int)
        return [self.categories[at] if 0 <= at < len(self.categories) else None for at in positions]


class _HotEncoder(CategoryEncoder, ABC):
    other: bool
    """Whether there is a bucket for rare and unknown categories: training rows had rare ones."""
    indicator: bool
    """Whether missing values have an output of their own: training rows had some."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name a category, then the bucket for rare ones, then missing."""
        extra = ["(other)"] * self.other + ["missing"] * self.indicator
        return tuple(f"{self.name}={value}" for value in (*self.categories, *extra))

    def _hot(self, rows: Array, codes: Array, *, count: int) -> Floats:
        """Return zeros, float32 of shape (count, len(outputs)), with a one for each code where it has an output."""
        width = len(self.outputs)
        codes = np.where(codes == -1, len(self.categories) if self.other else width, codes)
        codes = np.where(codes == -2, width - 1 if self.indicator else width, codes)
        encoded = np.zeros((count, width + 1), np.float32)
        encoded[rows, codes] = 1
        return encoded[:, :width]


class OneHotEncoder(_HotEncoder):
    """One 0/1 output a category. An unknown one gets the bucket of rare ones; without that, zeros everywhere."""

    kind: Literal["one_hot"] = "one_hot"

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 zeros and ones of shape (n, len(outputs))."""
        return self._hot(np.arange(len(values)), self.codes(values), count=len(values))

    def inverse(self, encoded: Floats) -> list[str | None]:
        """Return the category of each row; None for an unknown or missing one."""
        names = [*self.categories, *[None] * (encoded.shape[1] - len(self.categories))]
        return [names[at] if row[at] else None for at, row in zip(encoded.argmax(axis=1), encoded, strict=True)]


class MultiHotEncoder(_HotEncoder):
    """One 0/1 output a category, for lists of categories. An empty list is zeros everywhere, and not missing."""

    kind: Literal["multi_hot"] = "multi_hot"

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 zeros and ones of shape (n, len(outputs))."""
        absent = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
        rows = np.concatenate([_rows(values), absent])
        codes = np.concatenate([self.codes(values.flatten()), np.full(len(absent), -2, np.int32)])
        return self._hot(rows, codes, count=len(values))

    def inverse(self, encoded: Floats) -> list[list[str]]:
        """Return the categories of each row, as far as they were kept, in the order of their codes."""
        return [[self.categories[at] for at in np.flatnonzero(row[: len(self.categories)])] for row in encoded]

    def unknown(self, values: pa.Array) -> int:
        """Return how many rows have a category that is not among those kept."""
        return len(np.unique(_rows(values)[self.codes(values.flatten()) == -1]))


def _rows(lists: pa.Array) -> Array:
    """Return which list each item stands in."""
    return pc.list_parent_indices(lists).to_numpy()


class EmbeddingEncoder(CategoryEncoder):
    """A code for a learned vector: 0 for missing, 1 for rare and unknown categories, 2 and up for those kept."""

    slot: ClassVar[Literal["numeric", "embedding", "tensor"]] = "embedding"

    kind: Literal["embedding"] = "embedding"
    size: int
    """Length of the learned vector."""

    @property
    def cardinality(self) -> int:
        """How many codes there are."""
        return len(self.categories) + 2

    def transform(self, values: pa.Array) -> Array:
        """Return int32 codes of shape (n,)."""
        return self.codes(values) + np.int32(2)

    def inverse(self, encoded: Array) -> list[str | None]:
        """Return the category of each row; None for an unknown or missing one."""
        names = [None, None, *self.categories]
        return [names[code] for code in encoded]


class TextCounts:
    """Counts texts that come in batches."""

    def __init__(self) -> None:
        """Start with no texts."""
        self._parts: list[tuple[pa.Array, Array]] = []
        self._different = self._waiting = 0

    def add(self, texts: pa.Array) -> None:
        """Take a batch, none of them missing."""
        values, counts = pc.value_counts(texts).flatten()
        self._parts.append((values.cast(pa.large_string()), counts.to_numpy()))
        self._waiting += len(values)
        if self._waiting > max(_COUNTED_AT_ONCE, self._different):  # so that each is looked up a few times in all
            self._merge()

    def _merge(self) -> None:
        texts, counts = zip(*self._parts, strict=True)
        together = pa.concat_arrays(texts).dictionary_encode()
        summed = np.bincount(together.indices.to_numpy(), weights=np.concatenate(counts)).astype(np.int64)
        self._parts = [(together.dictionary, summed)]
        self._different, self._waiting = len(summed), 0

    def together(self) -> pa.Table:
        """Return the columns texts and counts, a row for each different text, in the order in which they came."""
        if not self._parts:
            return pa.table({"texts": pa.array([], pa.large_string()), "counts": pa.array([], pa.int64())})
        self._merge()
        texts, counts = self._parts[0]
        return pa.table({"texts": texts, "counts": counts})


class CategoryFitter(Fitter):
    """Counts categories."""

    def __init__(self, name: str, column: CategoricalColumn | MultiHotColumn) -> None:
        """Start with no rows."""
        self._name, self._column = name, column
        self._counts, self._missing = TextCounts(), False

    def observe(self, values: pa.Array) -> None:
        """Take a batch of text, or of lists of text."""
        self._missing |= values.null_count > 0
        self._counts.add(values.flatten() if pa.types.is_list(values.type) else values.drop_null())

    def fitted(self, sample: Array) -> Fitted | None:
        """Return the encoder of the column's kind."""
        if not len(self._seen):
            return None
        if isinstance(self._column, EmbeddingColumn):
            size = self._column.size or vector_size(len(self._categories) + 2)
            return EmbeddingEncoder(name=self._name, categories=self._categories, size=size)
        if isinstance(self._column, OrdinalColumn):
            return self._ordinal(self._column)
        if isinstance(self._column, TargetMeanColumn):
            return CategoryEncoder(name=self._name, categories=self._categories)
        kind = MultiHotEncoder if isinstance(self._column, MultiHotColumn) else OneHotEncoder
        other = len(self._seen) > len(self._categories)
        return kind(name=self._name, categories=self._categories, other=other, indicator=self._missing)

    @functools.cached_property
    def _seen(self) -> pa.Table:
        return self._counts.together()

    @functools.cached_property
    def _categories(self) -> tuple[str, ...]:
        kept = self._seen.filter(pc.greater_equal(self._seen.column("counts"), self._column.min_count))
        if len(kept) > (most := self._column.max_categories):
            by = [("counts", "descending"), ("texts", "ascending")]
            kept = kept.take(pc.select_k_unstable(kept, most, sort_keys=by))
        names = kept.column("texts").to_pylist()
        if self._column.categories is not None:
            known = {*names}
            return tuple(name for name in self._column.categories if self._column.kind == "ordinal" or name in known)
        return tuple(sorted(names))

    def _ordinal(self, column: OrdinalColumn) -> OrdinalEncoder:
        moments = Moments()
        if column.scale == "standard":
            texts, counts = self._seen.columns
            found = pc.index_in(texts, value_set=pa.array(self._categories, texts.type)).fill_null(-1)
            moments.add(np.repeat(found.to_numpy().astype(np.float64), counts.to_numpy()))
        return OrdinalEncoder(
            name=self._name,
            categories=self._categories,
            center=moments.mean,
            scale=moments.scale,
            indicator=self._missing,
        )
