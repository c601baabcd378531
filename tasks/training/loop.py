"""Epoch after epoch: validation, early stopping, the best weights, the history."""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.document import Document
from schemas.spec import Training
from tasks.encoders.base import Array
from tasks.training.engine import Engine, no_number
from tasks.training.feed import Examples

log = logging.getLogger("evermodel.train")


class History(Document):
    """What was seen in each epoch; lists with one entry per epoch."""

    loss: list[float]
    """Mean training loss over the epoch's batches, weighted, penalties and dropout included."""
    validation_loss: list[float]
    """Validation loss after the epoch, weighted, without penalties and dropout."""
    best_epoch: int
    """The epoch, from 1, whose weights were kept: the last whose validation loss was lower by min_delta or more."""
    batch_size: int
    """Rows per update of the weights: half of what was asked for, where memory did not suffice for that."""
    device: str
    """Where it was trained."""
    precision: str
    """The Keras dtype policy that was trained in."""
    xla: bool
    """Whether the steps were compiled by XLA."""
    warnings: list[str]
    """What went another way than asked for."""

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.loss)


@dataclass
class _Best:
    loss: float = math.inf
    epoch: int = 0
    state: Sequence[Array] = ()


def fit(engine: Engine, validation: Examples, training: Training, *, warnings: Sequence[str] = ()) -> History:
    """Train until the epochs are over or patience ends; leave the best epoch's weights and optimiser state behind.

    Raises TrainingError as soon as a loss is no number.
    """
    best, losses, validation_losses = _Best(), list[float](), list[float]()
    stopping, variables = training.early_stopping, [*engine.network.variables, *engine.optimizer.variables]
    for epoch in range(1, training.epochs + 1):
        started = time.perf_counter()
        losses.append(engine.train(epoch))
        validation_losses.append(engine.loss(validation))
        if not math.isfinite(validation_losses[-1]):
            raise no_number(f"epoch {epoch}, validation", validation_losses[-1])
        _report(epoch, training.epochs, losses[-1], validation_losses[-1], time.perf_counter() - started)
        if validation_losses[-1] < best.loss - (stopping.min_delta if stopping else 0.0):
            best = _Best(validation_losses[-1], epoch, [variable.numpy() for variable in variables])
        elif stopping and epoch - best.epoch >= stopping.patience:
            break
    for variable, value in zip(variables, best.state, strict=True):
        variable.assign(value)
    return History(
        loss=losses,
        validation_loss=validation_losses,
        best_epoch=best.epoch,
        batch_size=engine.batch_size,
        device=engine.device,
        precision=engine.policy,
        xla=engine.xla,
        warnings=list(warnings),
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
