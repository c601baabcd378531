"""Two values: 0 or 1."""

from typing import Literal

import numpy as np
import pyarrow as pa

from schemas.columns import BooleanColumn
from tasks.encoders.base import Array, Fitter, Floats, Marked


class BooleanEncoder(Marked):
    """1 for true, 0 for false and for missing, which is marked."""

    kind: Literal["boolean"] = "boolean"

    def transform(self, values: pa.Array) -> Floats:
        """Return float32 of shape (n, 1), or (n, 2) with the indicator."""
        true = values.fill_null(False).to_numpy(zero_copy_only=False).astype(np.float32)
        return self.marked(true, values)

    def inverse(self, encoded: Floats) -> Array:
        """Return the values, bool of shape (n,); False for a missing one."""
        return encoded[:, 0] > 0.5


class BooleanFitter(Fitter):
    """Notes whether values are missing."""

    def __init__(self, name: str, column: BooleanColumn) -> None:
        """Start with no rows."""
        self._name, self._known, self._missing = name, False, False

    def observe(self, values: pa.Array) -> None:
        """Take a batch of booleans."""
        self._missing |= values.null_count > 0
        self._known |= values.null_count < len(values)

    def fitted(self, sample: Array) -> BooleanEncoder | None:
        """Return the encoder."""
        return BooleanEncoder(name=self._name, indicator=self._missing) if self._known else None
