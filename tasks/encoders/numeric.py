"""Numbers: scaled, with missing ones imputed and marked."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from schemas.columns import NumericColumn
from tasks.encoders.base import Array, Fitter, Floats, Marked, floats
from tasks.moments import Moments

_QUANTILES = 1_000
_SMALLEST_RANK = 1e-7
"""Of the smallest value; of the largest it is 1 less so much. A rank of 0 would be infinitely far from the others."""


class NumericEncoder(Marked):
    """(x - center) / scale, after the logarithm if that is asked for."""

    kind: Literal["numeric"] = "numeric"
    log: bool
    """Whether x becomes sign(x) log(1 + |x|) first."""
    fill: float
    """What stands in for a missing x."""
    center: float
    """What is subtracted."""
    scale: float
    """What is divided by."""

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, 1), or (n, 2) with the indicator."""
        numbers = floats(values)
        numbers = np.where(np.isnan(numbers), self.fill, numbers)
        with np.errstate(over="ignore"):
            scaled = ((_log(numbers) if self.log else numbers) - self.center) / self.scale
            return self.marked(scaled.astype(np.float32), values)

    def inverse(self, encoded: Floats) -> Array:
        """Return the numbers, float64 of shape (n,), that the first output stands for."""
        scaled = encoded[:, 0].astype(np.float64) * self.scale + self.center
        return np.sign(scaled) * np.expm1(np.abs(scaled)) if self.log else scaled


class QuantileEncoder(Marked):
    """The rank of x among the training values, as a normal deviate (scikit-learn's QuantileTransformer).

    Ranks are read off between quantiles at equal steps; among equal values the middle one counts.
    """

    kind: Literal["quantile"] = "quantile"
    fill: float
    """What stands in for a missing x."""
    quantiles: tuple[float, ...]
    """Quantiles of the training values, from the smallest to the largest."""

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, 1), or (n, 2) with the indicator."""
        from scipy.special import ndtri

        numbers, quantiles, steps = floats(values), np.array(self.quantiles), self._steps
        numbers = np.where(np.isnan(numbers), self.fill, numbers)
        below, above = np.interp(numbers, quantiles, steps), np.interp(-numbers, -quantiles[::-1], steps)
        ranks = np.clip((below + 1 - above) / 2, _SMALLEST_RANK, 1 - _SMALLEST_RANK)
        return self.marked(ndtri(ranks).astype(np.float32), values)

    def inverse(self, encoded: Floats) -> Array:
        """Return the numbers, float64 of shape (n,), that the first output stands for."""
        from scipy.special import ndtr

        return np.interp(ndtr(encoded[:, 0].astype(np.float64)), self._steps, self.quantiles)

    @property
    def _steps(self) -> Array:
        return np.linspace(0, 1, len(self.quantiles))


class NumericFitter(Fitter):
    """Collects mean, deviation, range and whether values are missing."""

    needs_sample = True

    def __init__(self, name: str, column: NumericColumn) -> None:
        """Start with no rows."""
        self._name, self._column = name, column
        self._raw, self._scaled, self._missing = Moments(), Moments(), False

    def observe(self, values: pa.Array) -> None:
        """Take a batch of float64."""
        self._missing |= values.null_count > 0
        numbers = values.drop_null().to_numpy()
        self._raw.add(numbers)
        if self._column.scale == "log":
            self._scaled.add(_log(numbers))

    def fitted(self, sample: Array) -> NumericEncoder | QuantileEncoder | None:
        """Return the encoder."""
        if not self._raw.count:
            return None
        # Of a column with very few values the sample may hold none.
        sample = sample if len(sample) else np.array([self._raw.mean])
        quartiles = np.quantile(sample, [0.25, 0.5, 0.75]).tolist()
        fill = {"mean": self._raw.mean, "zero": 0.0, "median": quartiles[1]}[self._column.impute]
        if self._column.scale == "quantile":
            steps = np.linspace(0, 1, min(_QUANTILES, max(2, len(sample))))
            quantiles = tuple(np.quantile(sample, steps).tolist())
            return QuantileEncoder(name=self._name, fill=fill, quantiles=quantiles, indicator=self._missing)
        center, scale = self._center_and_scale(quartiles)
        return NumericEncoder(
            name=self._name,
            log=self._column.scale == "log",
            fill=fill,
            center=center,
            scale=scale,
            indicator=self._missing,
        )

    def _center_and_scale(self, quartiles: Sequence[float]) -> tuple[float, float]:
        if self._column.scale == "standard":
            return self._raw.mean, self._raw.scale
        if self._column.scale == "log":
            return self._scaled.mean, self._scaled.scale
        if self._column.scale == "min_max":
            return self._raw.minimum, (self._raw.maximum - self._raw.minimum) or 1.0
        if self._column.scale == "robust":
            low, middle, high = quartiles
            return middle, high - low or self._raw.scale
        return 0.0, 1.0


def _log(numbers: Array) -> Array:
    return np.sign(numbers) * np.log1p(np.abs(numbers))
