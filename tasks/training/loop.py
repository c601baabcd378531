"""Epoch after epoch: validation, metrics, early stopping, the best weights, the history."""

import logging
import operator
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field

from schemas.document import Record
from schemas.errors import TrainingError
from schemas.training import Training
from tasks.encoders.base import Array
from tasks.training.checkpoints import Checkpoints, Progress
from tasks.training.engine import Engine, no_number
from tasks.training.feed import Examples
from tasks.training.judge import Judge

log = logging.getLogger("evermodel.train")

AfterEpoch = Callable[[Progress, int, float], None]
"""Takes the progress, how many epochs there are at most, and the seconds that the last one took."""


class Curves(Record):
    """What was seen in each epoch; lists with one entry per epoch."""

    loss: list[float]
    """Mean training loss over the epoch's batches, weighted, penalties and dropout included."""
    validation_loss: list[float]
    """Validation loss after the epoch, weighted, without penalties and dropout."""
    metrics: dict[str, list[float | None]] = Field(default_factory=dict, exclude_if=operator.not_)
    """Metrics of the validation rows after the epoch, by name; None where one has no value."""
    best_epoch: int
    """The epoch, from 1, whose weights were kept: the last that was better by min_delta or more."""


class History(Curves):
    """What was seen in each epoch. Of several members: their mean, and the epoch in which it was best."""

    decided_by: str | None = Field(default=None, exclude_if=lambda metric: metric is None)
    """The metric by which the best epoch was chosen; None for the validation loss."""
    members: tuple[Curves, ...] = ()
    """What was seen of each member, if there are several. All go on until the last one ends; each keeps the weights of
    its own best epoch, and none from after its own patience has ended."""
    ensemble_loss: float | None = None
    """The validation loss of the mean of several members' outputs."""
    ensemble_metrics: dict[str, float | None] = Field(default_factory=dict, exclude_if=operator.not_)
    """The metrics of that mean."""
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

    @property
    def best_epochs(self) -> Sequence[int]:
        """The best epoch of each network that was trained."""
        return [each.best_epoch for each in self.members] or [self.best_epoch]

    @property
    def kept_loss(self) -> float:
        """The validation loss of what is kept."""
        return self.validation_loss[self.best_epoch - 1] if self.ensemble_loss is None else self.ensemble_loss


def fit(
    engine: Engine,
    validation: Examples,
    training: Training,
    *,
    judge: Judge | None = None,
    checkpoints: Checkpoints | None = None,
    warnings: Sequence[str] = (),
    after_epoch: AfterEpoch | None = None,
) -> History:
    """Train until the epochs are over or patience ends; leave the best epoch's weights and optimiser state behind.

    Where there is a `judge`, it computes metrics of each epoch, and may decide which one is the best. After each epoch
    `after_epoch` is called instead of logging it; training ends by what it raises.

    It goes on from a checkpoint, if there is one. Raises TrainingError as soon as a loss is no number, and at the end
    where what decides had no value in any epoch.
    """
    checkpoints = checkpoints or Checkpoints(None)
    engine.hold(validation)
    progress = checkpoints.load(engine.identity, like=engine.state)
    if progress.epoch:
        engine.state = progress.now
    while not _ended(progress, training):
        started = time.perf_counter()
        _take_epoch(engine, validation, training, progress, judge)
        (after_epoch or _report)(progress, training.epochs, time.perf_counter() - started)
        _save(engine, progress, checkpoints)
    _refuse_undecided(progress, judge)
    engine.state = progress.best
    return _history(engine, validation, progress, judge, warnings)


def refit(engine: Engine, epochs: Sequence[int], *, checkpoints: Checkpoints) -> None:
    """Train each network for its number of epochs, without looking at anything else, and leave its weights behind.

    It goes on from a checkpoint, if there is one. Raises TrainingError as soon as a loss is no number, and for weights
    that are none in the end.
    """
    progress = checkpoints.load(engine.identity, like=engine.state)
    if progress.epoch:
        engine.state = progress.now
    while (epoch := progress.epoch + 1) <= max(epochs):
        loss, learns = engine.train(epoch), np.array(epochs) >= epoch
        progress.member_losses.append(np.atleast_1d(loss).tolist())
        if epoch in epochs:
            progress.best = engine.best(learns, engine.state, progress.best)
        progress.best_epochs = np.where(learns, epoch, progress.best_epochs).tolist()
        event = {"stage": "train", "refit": True, "epoch": epoch, "epochs": max(epochs), "loss": progress.losses[-1]}
        said = epoch, max(epochs), progress.losses[-1]
        log.info("train: refit, epoch %d/%d, loss %.4g", *said, extra={"event": event})
        _save(engine, progress, checkpoints)
    engine.state = progress.best
    engine.refuse_no_numbers(f"refit, epoch {max(epochs)}")


def _save(engine: Engine, progress: Progress, checkpoints: Checkpoints) -> None:
    """Save a checkpoint when one is due; the state, which may be large, is copied then alone."""
    if checkpoints.due:
        progress.now = engine.state
        checkpoints.save(engine.identity, progress)


def _refuse_undecided(progress: Progress, judge: Judge | None) -> None:
    if judge and not np.isfinite(progress.best_costs).all():
        raise TrainingError(
            f"training.early_stopping.metric: {judge.deciding} had no value in any of {progress.epoch} epochs, so that "
            "none is the best; take another metric, or null for the validation loss"
        )


def _history(
    engine: Engine, validation: Examples, progress: Progress, judge: Judge | None, warnings: Sequence[str]
) -> History:
    losses, several = progress.losses, engine.members > 1
    means, figures = progress.validation_losses, progress.metrics
    costs = [judge.cost(*each) for each in zip(means, figures, strict=True)] if judge else means
    return History(
        loss=losses,
        validation_loss=means,
        metrics=_by_name(figures),
        best_epoch=costs.index(min(costs)) + 1 if several else progress.best_epochs[0],
        decided_by=judge and judge.deciding,
        members=tuple(_of_member(progress, index) for index in range(engine.members)) if several else (),
        ensemble_loss=engine.ensemble_loss(validation) if several else None,
        ensemble_metrics=_ensemble_metrics(engine, validation, judge) if several and judge else {},
        batch_size=engine.batch_size,
        device=engine.device,
        precision=engine.policy,
        xla=engine.xla,
        warnings=list(warnings),
    )


def _of_member(progress: Progress, index: int) -> Curves:
    losses, validation_losses = np.array(progress.member_losses), np.array(progress.member_validation_losses)
    figures = [{name: values[index] for name, values in epoch.items()} for epoch in progress.member_metrics]
    return Curves(
        loss=losses[:, index].tolist(),
        validation_loss=validation_losses[:, index].tolist(),
        metrics=_by_name(figures),
        best_epoch=progress.best_epochs[index],
    )


def _ensemble_metrics(engine: Engine, validation: Examples, judge: Judge) -> dict[str, float | None]:
    _, outputs = engine.judged(validation)
    return _defined(judge.figures(outputs.mean(axis=0)))


def _by_name(figures: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Return the metrics of each epoch as a list for each of them."""
    epochs = [_defined(each) for each in figures]
    return {name: [each[name] for each in epochs] for name in epochs[0]}


def _defined(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def _ended(progress: Progress, training: Training) -> bool:
    return progress.epoch >= training.epochs or bool(_impatient(progress, training).all())


def _impatient(progress: Progress, training: Training) -> Array:
    """Say of each network whether its patience has ended, shape (members,)."""
    waited = progress.epoch - np.array(progress.best_epochs)
    return waited >= (training.early_stopping.patience if training.early_stopping else np.inf)


def _take_epoch(
    engine: Engine, validation: Examples, training: Training, progress: Progress, judge: Judge | None
) -> None:
    epoch = progress.epoch + 1
    loss = engine.train(epoch)
    validation_loss, outputs = engine.judged(validation) if judge else (engine.loss(validation), ())
    if not np.isfinite(validation_loss).all():
        raise no_number(f"epoch {epoch}, validation", validation_loss)
    figures = [judge.figures(each) for each in outputs] if judge else []
    validation_losses = np.atleast_1d(validation_loss).tolist()
    costs = [judge.cost(*each) for each in zip(validation_losses, figures, strict=True)] if judge else validation_losses
    min_delta = training.early_stopping.min_delta if training.early_stopping else 0.0
    better = ~_impatient(progress, training) & (np.array(costs) < np.array(progress.best_costs) - min_delta)
    better |= np.array(progress.best_epochs) == 0  # the first is there to be better than, whatever is known of it
    progress.member_losses.append(np.atleast_1d(loss).tolist())
    progress.member_validation_losses.append(validation_losses)
    progress.member_metrics.append({name: [each[name] for each in figures] for name in judge.names} if judge else {})
    if better.any():
        progress.best = engine.best(better, engine.state, progress.best)
        progress.best_costs = np.where(better, costs, progress.best_costs).tolist()
        progress.best_epochs = np.where(better, epoch, progress.best_epochs).tolist()


def _report(progress: Progress, epochs: int, seconds: float) -> None:
    epoch, loss, validation_loss = progress.epoch, progress.losses[-1], progress.validation_losses[-1]
    event = {"stage": "train", "epoch": epoch, "epochs": epochs, "loss": loss, "validation_loss": validation_loss}
    if figures := progress.metrics[-1]:
        event |= {"metrics": _defined(figures)}
    log.info(
        "train: epoch %d/%d, loss %.4g, validation loss %.4g%s",
        epoch,
        epochs,
        loss,
        validation_loss,
        "".join(f", {name} {value:.4g}" for name, value in figures.items()),
        extra={"event": {**event, "seconds": round(seconds, 3)}},
    )
