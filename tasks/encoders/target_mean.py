"""Categories as means of the target; for a training row, as means of other rows than itself."""

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from schemas.columns import TargetMeanColumn
from tasks.encoders.base import Array, Floats
from tasks.encoders.categorical import CategoryEncoder
from tasks.moments import Moments
from tasks.row_keys import mix


class TargetMeanEncoder(CategoryEncoder):
    """The target's mean where a category stands, less the overall mean, in deviations (Micci-Barreca, 2001).

    It is kept as counts and sums, by fold of the training rows and by place: 0 for missing values, 1 for all rare and
    unknown categories together, 2 and up for those kept.
    """

    kind: Literal["target_mean"] = "target_mean"
    targets: tuple[str, ...]
    """What the outputs are means of: the target, or each of its columns or labels."""
    smooth: float
    """How many rows of the overall mean are mixed into each category's own."""
    deviations: tuple[float, ...]
    """What the differences to the overall mean are divided by, for each target."""
    counts: tuple[tuple[int, ...], ...]
    """Training rows by fold and place."""
    sums: tuple[tuple[tuple[float, ...], ...], ...]
    """Sums of the encoded target by fold, place and target."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name a target."""
        return tuple(f"{self.name}.mean.{target}" for target in self.targets)

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, targets), by the means of all training rows."""
        return self._means[-1, self.codes(values) + 2]

    def transform_training(self, values: pa.Array, rows: Array) -> Floats:
        """Return float32 of shape (n, targets) for training rows of such numbers, by the means of the other folds."""
        return self._means[_folds_of(rows, len(self.counts)), self.codes(values) + 2]

    @functools.cached_property
    def _means(self) -> Floats:
        """The encoding of each place without one of the folds, and last without none: (folds + 1, places, targets)."""
        counts, sums = np.array(self.counts, np.float64), np.array(self.sums)
        left_out = [*zip(counts, sums, strict=True), (0.0, 0.0)]
        return np.stack([self._encoding(counts.sum(0) - count, sums.sum(0) - part) for count, part in left_out])

    def _encoding(self, counts: Array, sums: Array) -> Floats:
        overall = sums.sum(axis=0) / max(1.0, counts.sum())
        weights = np.maximum(counts + self.smooth, np.finfo(np.float64).tiny)[:, None]
        differences = (sums - counts[:, None] * overall) / weights  # smoothed mean less overall mean
        encoding: Floats = (differences / np.array(self.deviations)).astype(np.float32)
        return encoding


class TargetMeanFitter:
    """Sums the encoded target by category, once the categories and the target's encoder are known."""

    def __init__(self, column: TargetMeanColumn, coder: CategoryEncoder, targets: Sequence[str]) -> None:
        """Start with no rows; the coder knows the categories."""
        self._column, self._coder, self._targets = column, coder, tuple(targets)
        self._counts = np.zeros((column.folds, len(coder.categories) + 2))
        self._sums = np.zeros((*self._counts.shape, len(targets)))
        self._moments = [Moments() for _ in targets]

    def observe(self, values: pa.Array, target: Array, rows: Array) -> None:
        """Take a batch: categories, what the network learns, shape (n, targets), and the rows' numbers, shape (n,)."""
        at = (_folds_of(rows, self._column.folds), self._coder.codes(values) + 2)
        flat, places = np.ravel_multi_index(at, self._counts.shape), self._counts.size
        self._counts += np.bincount(flat, minlength=places).reshape(self._counts.shape)
        for index, (numbers, moments) in enumerate(zip(target.T, self._moments, strict=True)):
            moments.add(numbers)
            sums = np.bincount(flat, weights=numbers, minlength=places)
            self._sums[..., index] += sums.reshape(self._counts.shape)

    def fitted(self) -> TargetMeanEncoder:
        """Return the encoder."""
        return TargetMeanEncoder(
            name=self._coder.name,
            categories=self._coder.categories,
            targets=self._targets,
            smooth=self._column.smooth,
            deviations=tuple(moments.scale for moments in self._moments),
            counts=self._counts.astype(int).tolist(),
            sums=self._sums.tolist(),
        )


def _folds_of(rows: Array, folds: int) -> Array:
    """Return the fold of each row by its number: shape (n,)."""
    return (mix(rows.astype(np.uint64)) % np.uint64(folds)).astype(np.int64)
