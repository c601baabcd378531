"""Losses of the user's own. Name and arguments travel with the saved network, and the loss is made from them again."""

from collections.abc import Mapping
from typing import Any

import keras

from schemas.errors import SpecError
from tasks import plugins


@keras.saving.register_keras_serializable(package="evermodel")
class OwnLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras carries no types
    """A loss that a function of the user's own computes.

    `function` is module:name: a function of y_true and y_pred, or one that makes such a function, or a Keras loss, from
    the arguments. It is loaded when the loss is made, also from a saved network, and only from a module that the
    operator allows.
    """

    def __init__(
        self, function: str, arguments: Mapping[str, Any] | None = None, reduction: str = "sum_over_batch_size"
    ) -> None:
        """Load the function; raises SpecError when the operator does not allow its module or it does not load."""
        super().__init__(name=function.partition(":")[2], reduction=reduction)
        self._function, self._arguments = function, dict(arguments or {})
        made = plugins.made(function, self._arguments)
        self._compute = made.call if isinstance(made, keras.losses.Loss) else made

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return one loss a row; a function that returns one for each output is averaged over them.

        Raises SpecError for a function that returns a single number for all rows.
        """
        y_pred = keras.ops.convert_to_tensor(y_pred)
        losses = keras.ops.convert_to_tensor(self._compute(keras.ops.cast(y_true, y_pred.dtype), y_pred))
        if len(losses.shape) == 0:
            raise SpecError(
                f"{self._function} returns one number for all rows, but rows have weights: return a loss for each row, "
                "such as the mean over axis -1"
            )
        return losses if len(losses.shape) == 1 else keras.ops.mean(losses, axis=tuple(range(1, len(losses.shape))))

    def get_config(self) -> dict[str, Any]:
        """Return what a saved network holds of the loss: the function's name and its arguments."""
        return {"function": self._function, "arguments": self._arguments, "reduction": self.reduction}
