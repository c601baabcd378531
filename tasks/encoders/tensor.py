"""Tensors of a fixed shape, such as images, on one scale."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from schemas.columns import TensorColumn
from tasks.encoders.base import Array, Fitted, Fitter, Floats
from tasks.moments import Moments


class TensorEncoder(Fitted):
    """(x - center) / scale for every number of the tensor; a missing tensor is all 0."""

    slot: ClassVar[Literal["numeric", "embedding", "tensor"]] = "tensor"

    kind: Literal["tensor"] = "tensor"
    shape: tuple[int, ...]
    """The tensor's shape."""
    center: float
    """What is subtracted."""
    scale: float
    """What is divided by."""

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, *shape)."""
        numbers = values.values.slice(values.offset * values.type.list_size, len(values) * values.type.list_size)
        tensor = numbers.to_numpy(zero_copy_only=False).reshape(len(values), *self.shape).astype(np.float64)
        with np.errstate(over="ignore"):
            scaled = ((tensor - self.center) / self.scale).astype(np.float32)
        scaled[values.is_null().to_numpy(zero_copy_only=False)] = 0
        return scaled

    def inverse(self, encoded: Floats) -> Array:
        """Return the numbers, float64 of shape (n, *shape)."""
        return encoded.astype(np.float64) * self.scale + self.center


class TensorFitter(Fitter):
    """Collects mean, deviation and range over all numbers of all tensors."""

    def __init__(self, name: str, column: TensorColumn) -> None:
        """Start with no rows."""
        self._name, self._column, self._moments = name, column, Moments()

    def observe(self, values: pa.Array) -> None:
        """Take a batch of fixed-size lists."""
        self._moments.add(values.drop_null().flatten().to_numpy())

    def fitted(self, sample: Array) -> TensorEncoder | None:
        """Return the encoder."""
        moments = self._moments
        if not moments.count:
            return None
        centers = {"standard": moments.mean, "min_max": moments.minimum, "none": 0.0}
        scales = {"standard": moments.scale, "min_max": (moments.maximum - moments.minimum) or 1.0, "none": 1.0}
        return TensorEncoder(
            name=self._name,
            shape=self._column.shape,
            center=centers[self._column.scale],
            scale=scales[self._column.scale],
        )
