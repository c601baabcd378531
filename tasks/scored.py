"""Predictions beside the truth."""

from dataclasses import dataclass

import numpy as np

from schemas.data import Problem
from tasks.encoders.base import Array


@dataclass(frozen=True)
class Scored:
    """Predictions beside the truth.

    `truth` are numbers of shape (n, outputs), codes of shape (n,), or zeros and ones of shape (n, labels);
    `predicted` are numbers of the same shape, probabilities of shape (n, classes), or of shape (n, labels);
    `weight` has shape (n,) or is None. `names` are the outputs, classes or labels.
    """

    problem: Problem
    names: tuple[str, ...]
    truth: Array
    predicted: Array
    weight: Array | None = None

    @property
    def weighs(self) -> bool:
        """Whether any row weighs more than nothing."""
        return self.weight is None or bool(self.weight.any())

    @property
    def decided(self) -> Array:
        """Codes of the most probable classes, shape (n,); of labels, zeros and ones cut at 0.5, shape (n, labels)."""
        return (
            (self.predicted >= 0.5).astype(np.int8) if self.problem == "multilabel" else self.predicted.argmax(axis=1)
        )


def sample(problem: Problem, *, classes: int = 4) -> Scored:
    """Return a few rows as a problem has them, to try a metric on: numbers above 0, or every class and label.

    Of several classes there are so many, but not fewer than 4.
    """
    if problem == "multiclass" and classes > 4:
        truth = np.tile(np.arange(classes), 2)
        names = tuple(map(str, range(classes)))
        return Scored(problem, names, truth, (np.eye(classes)[truth] + 1) / (classes + 1))
    if problem in {"regression", "multioutput_regression"}:
        truth = np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 5.0], [4.0, 3.0], [5.0, 4.0], [6.0, 7.0]])
        outputs = 1 if problem == "regression" else 2
        return Scored(problem, ("a", "b")[:outputs], truth[:, :outputs], truth[:, :outputs] + 0.5)
    chances = np.array([[0.4, 0.2, 0.1, 0.3], [0.2, 0.5, 0.1, 0.2], [0.1, 0.2, 0.6, 0.1], [0.4, 0.3, 0.1, 0.2]])
    chances = np.vstack([chances, chances[:, ::-1]])
    if problem == "multiclass":
        return Scored(problem, ("a", "b", "c", "d"), np.array([0, 1, 2, 3, 0, 1, 2, 3]), chances)
    if problem == "multilabel":
        truth = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 1, 1]] * 2, np.int8)
        return Scored(problem, ("a", "b", "c", "d"), truth, chances)
    positive = 2 * chances[:, 0]
    return Scored(problem, ("a", "b"), np.array([0, 1] * 4), np.column_stack([1 - positive, positive]))
