"""What each row counts in the loss: class weights times sample weights, scaled to a mean of 1 over training.

The scaling keeps the meaning of the learning rate. Keras's own `class_weight` is not used: it ignores names that do
not exist, takes an argmax over the labels of a multilabel target, and does not go together with sample weights.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from schemas.errors import SpecError
from tasks.encoders.base import Array, Floats
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget

ClassWeight = Literal["balanced"] | dict[str, float] | None


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


def class_weights(
    wanted: ClassWeight, encoder: NumberTarget | LabelTarget | LabelsTarget, target: Array
) -> ClassWeights | None:
    """Return the weights of the classes, from the training split's encoded target; None where no weight is wanted.

    balanced: n / (k n_c) for class c of k, as in scikit-learn; for each label of a multilabel target n / (2 n_0) and
    n / (2 n_1). Raises SpecError for a label that does not exist.
    """
    if wanted is None or isinstance(encoder, NumberTarget):
        return None
    if wanted == "balanced":
        return ClassWeights(_balanced(encoder, target))
    if strange := [name for name in wanted if name not in encoder.classes]:
        raise SpecError(f"training.class_weight: no label {strange[0]!r}; there are {', '.join(encoder.classes)}")
    named = np.array([wanted.get(name, 1.0) for name in encoder.classes])
    if isinstance(encoder, LabelsTarget):
        return ClassWeights(np.column_stack([np.ones_like(named), named]))
    return ClassWeights(named)


def _balanced(encoder: LabelTarget | LabelsTarget, target: Array) -> Array:
    if isinstance(encoder, LabelsTarget):
        ones = target.sum(axis=0, dtype=np.float64)
        counts = np.column_stack([len(target) - ones, ones])
        return len(target) / (2 * np.maximum(counts, 1))
    counts = np.bincount(target.reshape(len(target)).astype(np.int64), minlength=len(encoder.classes))
    return len(target) / (len(encoder.classes) * np.maximum(counts, 1))


def row_weights(classes: ClassWeights | None, target: Array, sample_weight: Array | None) -> Floats:
    """Return class weight times sample weight, float32 of shape (n,), multilabel with class weights (n, labels)."""
    weights: Any = np.ones(len(target)) if classes is None else classes.of(target)
    if sample_weight is not None:
        weights = weights * (sample_weight if weights.ndim == 1 else sample_weight[:, None])
    return weights.astype(np.float32)
