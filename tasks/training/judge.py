"""Metrics of the validation rows while something is trained: of each epoch, and of what trials have come to."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from schemas.contract import WEIGHT, Contract
from schemas.errors import DataError, SpecError
from schemas.named import Metric
from schemas.training import Training
from tasks import metrics
from tasks.encoders import table
from tasks.encoders.base import Array, Floats
from tasks.encoders.target import predicted
from tasks.scored import Scored
from tasks.tables import outline, read_batches

log = logging.getLogger("evermodel.train")

_SHOWN, _DECIDING = "training.metrics", "training.early_stopping.metric"


class Judge:
    """Computes metrics of the validation rows as evaluation does: in the target's own units, by the rows' own weights.

    Class weights, which the validation loss may have in it, are no part of them.
    """

    def __init__(
        self,
        contract: Contract,
        encoder: table.TableEncoder,
        rows: Path,
        *,
        shown: Sequence[Metric] = (),
        deciding: Metric | None = None,
        key: str = _DECIDING,
    ) -> None:
        """Read the truth from the file of ingested validation rows, in whose order they were encoded.

        `deciding`, which the spec names under `key`, is to say which of several networks is the best. Raises SpecError
        for a metric that does not fit, and DataError for a deciding one that has no value on these rows.
        """
        self._problem, self._target = contract.problem, encoder.target
        weight = [WEIGHT] if WEIGHT in outline(rows)[1] else []
        batches = list(read_batches(rows, columns=[*contract.target.names, *weight]))
        self._truth = np.concatenate([self._target.truth(batch) for batch in batches])
        weights = np.concatenate([table.weights(batch) for batch in batches]) if weight else None
        self._weight = weights if weights is not None and weights.any() else None
        self._told = set[str]()
        self.deciding = self._deciding(deciding, key) if deciding else None
        self._wanted = [(metric, self._names(metric)) for metric in shown]
        self._wanted += [(deciding, (self.deciding,))] if deciding and self.deciding else []

    @property
    def names(self) -> Sequence[str]:
        """The names of all figures, as reports have them."""
        return list(dict.fromkeys(name for _, names in self._wanted for name in names))

    def figures(self, outputs: Floats) -> dict[str, float]:
        """Return the metrics by name of a network's outputs for these rows, shape (n, units).

        NaN is what has no value for them, such as a logarithm of less than 0.
        """
        scored, found = self._scored(self._target.decode(outputs)), dict.fromkeys(self.names, np.nan)
        for metric, names in self._wanted:
            try:
                found |= metrics.compute_some(names, scored, [metric])
            except SpecError as error:  # not the spec's fault: it took right predictions
                self._tell(metric, error)
        return found

    def _tell(self, metric: Metric, error: SpecError) -> None:
        """Say once why a metric has no value."""
        if metric.name not in self._told:
            log.warning("train: %s has no value for what the network says: %s", metric.name, error.__cause__ or error)
            self._told.add(metric.name)

    def cost(self, loss: float, figures: Mapping[str, float]) -> float:
        """Return what is lower for the better of two networks: the loss, unless a metric decides.

        Infinite where that has no value.
        """
        value = loss if self.deciding is None else figures[self.deciding]
        if not np.isfinite(value):
            return np.inf
        return value if self.deciding is None or metrics.lower_is_better(self.deciding) else -value

    def _names(self, metric: Metric) -> Sequence[str]:
        """Return the names of a metric's figures: one, or one of each output or label."""
        known, name = metrics.compute(self._perfect, [metric], key=_SHOWN), metrics.name_of(metric)
        several = [each for each in known if each.startswith(f"{name}[")]
        if several and name not in known:
            return several
        return [metrics.deciding(metric, self._problem, known, key=_SHOWN)]

    def _deciding(self, metric: Metric, key: str) -> str:
        known = metrics.compute(self._perfect, [metric], key=key)
        name = metrics.deciding(metric, self._problem, known, key=key)
        if np.isnan(known[name]):
            raise DataError(
                f"{key}: {name} has no value on the {len(self._truth):,} validation rows, such as an AUC of rows that "
                "are all alike; take another metric, or more validation rows"
            )
        return name

    @property
    def _perfect(self) -> Scored:
        """Predictions that are right, on which a metric shows whether it has a value."""
        if self._target.kind == "label":
            return self._scored(np.eye(len(predicted(self._target)))[self._truth])
        return self._scored(self._truth.astype(np.float64))

    def _scored(self, predictions: Array) -> Scored:
        return Scored(self._problem, predicted(self._target), self._truth, predictions, self._weight)


def of_epochs(
    training: Training, contract: Contract, encoder: table.TableEncoder, rows: Path, *, shown: bool
) -> Judge | None:
    """Return who judges each epoch; None where the loss does.

    Of metrics that decide nothing there is no figure unless they are `shown`. Raises as `Judge` does.
    """
    metric, others = training.deciding_metric, training.metrics if shown else ()
    return Judge(contract, encoder, rows, shown=others, deciding=metric) if metric or others else None
