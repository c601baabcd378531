"""What trials are compared by where the spec names a metric: its value on the validation rows."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schemas.contract import WEIGHT, Contract
from schemas.errors import DataError
from schemas.named import Metric
from tasks import metrics
from tasks.encoders import table
from tasks.encoders.base import Array
from tasks.encoders.target import predicted
from tasks.scored import Scored
from tasks.tables import outline, read_batches
from tasks.training.feed import Examples

if TYPE_CHECKING:
    import keras

_ROWS = 8192


class Judge:
    """Computes a metric of the validation rows as evaluation does: in the target's own units, by the rows' own weights.

    Class weights, which the validation loss may have in it, are no part of it.
    """

    def __init__(self, metric: Metric, contract: Contract, encoder: table.TableEncoder, rows: Path) -> None:
        """Read the truth from the file of ingested validation rows, in whose order they were encoded.

        Raises SpecError for a metric that does not fit, and DataError for one that has no value on these rows.
        """
        self._metric, self._problem, self._target = metric, contract.problem, encoder.target
        weight = [WEIGHT] if WEIGHT in outline(rows)[1] else []
        batches = list(read_batches(rows, columns=[*contract.target.names, *weight]))
        self._truth = np.concatenate([self._target.truth(batch) for batch in batches])
        weights = np.concatenate([table.weights(batch) for batch in batches]) if weight else None
        self._weight = weights if weights is not None and weights.any() else None
        self.name, value = self._measured(self._perfect())
        if np.isnan(value):
            raise DataError(
                f"tuning.metric: {self.name} has no value on the {len(self._truth):,} validation rows, such as an AUC "
                "of rows that are all alike; take another metric, or more validation rows"
            )

    def value(self, network: "keras.Model", validation: Examples) -> float:
        """Return the metric of what a network says of the encoded validation rows."""
        pieces = []
        for start in range(0, len(validation), _ROWS):
            inputs = {name: values[start : start + _ROWS] for name, values in validation.inputs.items()}
            pieces.append(np.asarray(network(inputs, training=False)))
        return self._measured(self._target.decode(np.concatenate(pieces)))[1]

    def _measured(self, predictions: Array) -> tuple[str, float]:
        """Return the metric's name, as reports have it, and its value."""
        scored = Scored(self._problem, predicted(self._target), self._truth, predictions, self._weight)
        known = metrics.compute(scored, [self._metric], key="tuning.metric")
        name = metrics.deciding(self._metric, self._problem, known, key="tuning.metric")
        return name, known[name]

    def _perfect(self) -> Array:
        """Return predictions that are right, on which a metric shows whether it has a value."""
        if self._target.kind == "label":
            return np.eye(len(predicted(self._target)))[self._truth]
        return self._truth.astype(np.float64)
