"""Epoch after epoch: validation, early stopping, the best weights, the history."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.document import Document
from schemas.errors import TrainingError
from schemas.spec import Training
from tasks.encoders.base import Array
from tasks.training.engine import Engine, Examples

log = logging.getLogger("evermodel.train")


class History(Document):
    """What was seen in each epoch; lists with one entry per epoch."""

    loss: list[float]
    """Mean training loss over the epoch's batches, weighted, penalties and dropout included."""
    validation_loss: list[float]
    """Validation loss after the epoch, weighted, without penalties and dropout."""
    best_epoch: int
    """The epoch, from 1, whose weights were kept: the last whose validation loss was lower by min_delta or more."""

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.loss)


@dataclass
class _Best:
    loss: float = math.inf
    epoch: int = 0
    state: Sequence[Array] = ()


def fit(engine: Engine, validation: Examples, training: Training) -> History:
    """Train until the epochs are over or patience ends; leave the best epoch's weights and optimiser state behind.

    Raises TrainingError as soon as a loss is not a number.
    """
    best, losses, validation_losses = _Best(), list[float](), list[float]()
    stopping, variables = training.early_stopping, [*engine.network.variables, *engine.optimizer.variables]
    for epoch in range(1, training.epochs + 1):
        started = time.perf_counter()
        losses.append(engine.train(epoch))
        validation_losses.append(engine.loss(validation))
        _refuse_no_number(losses[-1], validation_losses[-1], epoch)
        _report(epoch, training.epochs, losses[-1], validation_losses[-1], time.perf_counter() - started)
        if validation_losses[-1] < best.loss - (stopping.min_delta if stopping else 0.0):
            best = _Best(validation_losses[-1], epoch, [variable.numpy() for variable in variables])
        elif stopping and epoch - best.epoch >= stopping.patience:
            break
    for variable, value in zip(variables, best.state, strict=True):
        variable.assign(value)
    return History(loss=losses, validation_loss=validation_losses, best_epoch=best.epoch)


def _refuse_no_number(loss: float, validation_loss: float, epoch: int) -> None:
    if not (math.isfinite(loss) and math.isfinite(validation_loss)):
        raise TrainingError(
            f"epoch {epoch}: the loss is no number (training {loss}, validation {validation_loss}); lower "
            "training.optimizer.learning_rate, set its clipnorm, or look for outliers in the features"
        )


def _report(epoch: int, epochs: int, loss: float, validation_loss: float, seconds: float) -> None:
    event = {"stage": "train", "epoch": epoch, "epochs": epochs, "loss": loss, "validation_loss": validation_loss}
    log.info(
        "train: epoch %d/%d, loss %.4g, validation loss %.4g",
        epoch,
        epochs,
        loss,
        validation_loss,
        extra={"event": {**event, "seconds": round(seconds, 3)}},
    )
