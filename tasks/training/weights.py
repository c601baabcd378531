"""What each row counts in the loss: class or output weights times sample weights, scaled to a mean of 1 over training.

The scaling keeps the meaning of the learning rate. Keras's own `class_weight` is not used: it ignores names that do
not exist, takes an argmax over the labels of a multilabel target, and does not go together with sample weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.errors import SpecError
from schemas.training import EffectiveNumber, Training
from tasks.encoders.base import Array, Floats
from tasks.encoders.target import FittedTarget, LabelsTarget, LabelTarget, NumberTarget


@dataclass(frozen=True)
class ClassWeights:
    """A weight for each class, shape (classes,); multilabel, one for each label's 0 and 1, shape (labels, 2)."""

    values: Array

    def of(self, target: Array) -> Array:
        """Return the weights of encoded targets: shape (n,), multilabel (n, labels)."""
        codes = target.astype(np.int64)
        if self.values.ndim == 2:
            return self.values[np.arange(codes.shape[1]), codes]
        return self.values[codes.reshape(len(codes))]


@dataclass(frozen=True)
class OutputWeights:
    """A weight for each output, shape (units,)."""

    values: Array

    def of(self, target: Array) -> Array:
        """Return the weights of encoded targets: shape (n, units)."""
        return np.tile(self.values, (len(target), 1))


def weighs_validation(training: Training) -> bool:
    """Say whether early stopping sees validation rows by their weights."""
    return training.early_stopping is None or training.early_stopping.weighted


def class_weights(training: Training, encoder: FittedTarget, target: Array) -> ClassWeights | OutputWeights | None:
    """Return the weights of the classes, from the training split's encoded target, or of the outputs of a regression.

    None where no weight is wanted. balanced: n / (k n_c) for class c of k, as in scikit-learn. effective_number: in
    proportion to (1 - beta) / (1 - beta^n_c) (Cui et al., 2019), with a mean of 1 over the classes. For each label of a
    multilabel target the two classes are its 0 and 1. Raises SpecError for a label or an output that does not exist.
    """
    if isinstance(encoder, NumberTarget):
        wanted = training.output_weight
        return None if wanted is None else OutputWeights(_named(wanted, encoder.names, "output_weight: no target"))
    match training.class_weight:
        case None:
            return None
        case "balanced":
            counts = _counts(encoder, target)
            return ClassWeights(len(target) / (counts.shape[-1] * counts))
        case EffectiveNumber(beta=beta):
            each = (1 - beta) / (1 - beta ** _counts(encoder, target))
            return ClassWeights(each / each.mean(axis=-1, keepdims=True))
        case by_label:
            named = _named(by_label, encoder.classes, "class_weight: no label")
    return ClassWeights(np.column_stack([np.ones_like(named), named]) if isinstance(encoder, LabelsTarget) else named)


def _named(wanted: Mapping[str, float], names: tuple[str, ...], absent: str) -> Array:
    """Return the weight of each name, 1 where there is none."""
    if strange := [name for name in wanted if name not in names]:
        raise SpecError(f"training.{absent} {strange[0]!r}; there are {', '.join(names)}")
    return np.array([wanted.get(name, 1.0) for name in names])


def _counts(encoder: LabelTarget | LabelsTarget, target: Array) -> Array:
    """Return the rows of each class, at least 1: shape (classes,), multilabel (labels, 2)."""
    if isinstance(encoder, LabelsTarget):
        ones = target.sum(axis=0, dtype=np.float64)
        return np.maximum(np.column_stack([len(target) - ones, ones]), 1)
    codes = target.reshape(len(target)).astype(np.int64)
    return np.maximum(np.bincount(codes, minlength=len(encoder.classes)), 1)


def row_weights(classes: ClassWeights | OutputWeights | None, target: Array, sample_weight: Array | None) -> Floats:
    """Return class weight times sample weight: float32 of shape (n,), or (n, units) where `classes` weigh outputs."""
    weights: Any = np.ones(len(target)) if classes is None else classes.of(target)
    if sample_weight is not None:
        weights = weights * (sample_weight if weights.ndim == 1 else sample_weight[:, None])
    return weights.astype(np.float32)
