"""Count, mean and deviation of numbers that come in batches."""

import math
from typing import Any

import numpy as np


class Moments:
    """Merges batches in float64 without losing digits (Chan, Golub and LeVeque, 1979).

    Numbers above 1e150 or so make the deviation infinite or NaN.
    """

    def __init__(self) -> None:
        """Start with no numbers."""
        self.count, self.mean, self._squares = 0, 0.0, 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, numbers: np.ndarray[Any, np.dtype[np.floating[Any]]]) -> None:
        """Take a batch of finite numbers of any shape."""
        if not numbers.size:
            return
        numbers = numbers.astype(np.float64, copy=False)
        with np.errstate(over="ignore", invalid="ignore"):
            mean, total = numbers.mean(), self.count + numbers.size
            delta = mean - self.mean
            self._squares += float(((numbers - mean) ** 2).sum() + delta**2 * self.count * numbers.size / total)
            self.mean, self.count = float(self.mean + delta * numbers.size / total), total
        self.minimum, self.maximum = min(self.minimum, float(numbers.min())), max(self.maximum, float(numbers.max()))

    @property
    def deviation(self) -> float:
        """The standard deviation, with the count as divisor; 0 without numbers."""
        return math.sqrt(self._squares / self.count) if self.count else 0.0

    @property
    def scale(self) -> float:
        """The deviation to divide by: 1 where the numbers do not differ but for rounding."""
        return 1.0 if self.deviation <= 1e-12 * abs(self.mean) else self.deviation
