"""Encoders of one's own, as a spec names them: `age: {kind: custom, encoder: examples.encoders:PiecewiseLinear}`.

A factory, here the class itself, makes an object that observes the training values and returns what it has learned; a
fresh object turns values into numbers by that alone.
"""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

Array = np.ndarray
Edges = dict[str, list[float]]


class PiecewiseLinear:
    """A number as how far each of several bins is filled (Gorishniy et al. 2022, On Embeddings for Numerical Features).

    Bins hold as many training values each; a missing value fills none of them. Wants `of: numeric`.
    """

    def __init__(self, bins: int = 8) -> None:
        """Start with no values."""
        self._bins, self._seen = bins, [np.zeros(0)]

    def observe(self, values: Array) -> None:
        """Take a batch of float64."""
        self._seen.append(values[~np.isnan(values)])

    def state(self) -> Edges:
        """Return the edges of the bins."""
        edges = np.unique(np.quantile(np.concatenate(self._seen), np.linspace(0, 1, self._bins + 1)))
        return {"edges": edges.tolist() if len(edges) > 1 else [float(edges[0]), float(edges[0]) + 1]}

    def names(self, state: Edges) -> list[str]:
        """Return one name a bin."""
        return [f"bin {number}" for number in range(1, len(state["edges"]))]

    def transform(self, values: Array, state: Edges) -> Array:
        """Return 0 for a bin above the value, 1 for one below, and between them where in its bin it lies."""
        edges = np.array(state["edges"])
        filled = (values[:, None] - edges[:-1]) / np.diff(edges)
        return np.nan_to_num(np.clip(filled, 0, 1))


class Keywords:
    """A text as which of its most frequent training words it has: one 0/1 number a word."""

    def __init__(self, words: int = 20, shortest: int = 3) -> None:
        """Start with no texts; words of fewer letters do not count."""
        self._words, self._pattern, self._counts = words, re.compile(rf"\w{{{shortest},}}"), Counter[str]()

    def observe(self, values: Array) -> None:
        """Take a batch of texts, None where one is missing."""
        for text in values:
            self._counts.update(self._found(text))

    def state(self) -> list[str]:
        """Return the words, the most frequent first, equally frequent ones by the alphabet."""
        return sorted(self._counts, key=lambda word: (-self._counts[word], word))[: self._words]

    def names(self, state: Sequence[str]) -> list[str]:
        """Return the words."""
        return [*state]

    def transform(self, values: Array, state: Sequence[str]) -> Array:
        """Return 1 where a text has a word, else 0."""
        return np.array([[word in found for word in state] for found in map(self._found, values)], float)

    def _found(self, text: str | None) -> set[str]:
        return set(self._pattern.findall((text or "").casefold()))
