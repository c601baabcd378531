"""Epoch after epoch: validation, early stopping, the best weights, the history."""

import logging
import math
import time
from collections.abc import Callable, Sequence

from schemas.document import Record
from schemas.training import Training
from tasks.training.checkpoints import Checkpoints, Progress
from tasks.training.engine import Engine, no_number
from tasks.training.feed import Examples

log = logging.getLogger("evermodel.train")

AfterEpoch = Callable[[Progress, int, float], None]
"""Takes the progress, how many epochs there are at most, and the seconds that the last one took."""


class History(Record):
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


def fit(
    engine: Engine,
    validation: Examples,
    training: Training,
    *,
    checkpoints: Checkpoints | None = None,
    warnings: Sequence[str] = (),
    after_epoch: AfterEpoch | None = None,
) -> History:
    """Train until the epochs are over or patience ends; leave the best epoch's weights and optimiser state behind.

    After each epoch `after_epoch` is called instead of logging it; training ends by what it raises.

    It goes on from a checkpoint, if there is one. Raises TrainingError as soon as a loss is no number.
    """
    checkpoints = checkpoints or Checkpoints(None)
    progress = checkpoints.load(engine.identity, like=engine.state)
    if progress.epoch:
        engine.state = progress.now
    while not _ended(progress, training):
        started = time.perf_counter()
        _take_epoch(engine, validation, training, progress)
        (after_epoch or _report)(progress, training.epochs, time.perf_counter() - started)
        checkpoints.save(engine.identity, progress)
    engine.state = progress.best
    return History(
        loss=progress.losses,
        validation_loss=progress.validation_losses,
        best_epoch=progress.best_epoch,
        batch_size=engine.batch_size,
        device=engine.device,
        precision=engine.policy,
        xla=engine.xla,
        warnings=list(warnings),
    )


def _ended(progress: Progress, training: Training) -> bool:
    stopping = training.early_stopping
    impatient = stopping is not None and progress.epoch - progress.best_epoch >= stopping.patience
    return progress.epoch >= training.epochs or impatient


def _take_epoch(engine: Engine, validation: Examples, training: Training, progress: Progress) -> None:
    epoch = progress.epoch + 1
    loss, validation_loss = engine.train(epoch), engine.loss(validation)
    if not math.isfinite(validation_loss):
        raise no_number(f"epoch {epoch}, validation", validation_loss)
    progress.losses.append(loss)
    progress.validation_losses.append(validation_loss)
    progress.now = engine.state
    if validation_loss < progress.best_loss - (training.early_stopping.min_delta if training.early_stopping else 0.0):
        progress.best_loss, progress.best_epoch, progress.best = validation_loss, epoch, progress.now


def _report(progress: Progress, epochs: int, seconds: float) -> None:
    epoch, loss, validation_loss = progress.epoch, progress.losses[-1], progress.validation_losses[-1]
    event = {"stage": "train", "epoch": epoch, "epochs": epochs, "loss": loss, "validation_loss": validation_loss}
    log.info(
        "train: epoch %d/%d, loss %.4g, validation loss %.4g",
        epoch,
        epochs,
        loss,
        validation_loss,
        extra={"event": {**event, "seconds": round(seconds, 3)}},
    )
