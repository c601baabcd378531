"""Underfitting, just right or overfitting: a verdict in words, with the numbers that it rests on.

Each split's error is set beside the error of a trivial prediction, which knows the target's training distribution and
none of the columns (regression: the mean; classes and labels: how frequent they are). What the network leaves of it,
the share left, is 0 for a perfect model and 1 for one that has learned nothing. A root of squares is compared as the
square: its share left is then 1 − R².

A high error alone is not underfitting: a network that went on to fit the training rows better after its best epoch,
and the validation rows worse, is large enough, and the rest is noise or missing columns.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from schemas.document import Document
from schemas.spec import REGRESSION
from tasks import metrics
from tasks.encoders.base import Array
from tasks.metrics import Scored
from tasks.reports.formatting import percent

_HIGH = 0.5
"""A share left in training above this is underfitting, where validation does not differ more than training allows."""
_GAP = 0.1
"""Overfitting leaves in validation this much more than in training,"""
_MUCH_LOWER = 0.75
"""and in training no more than this part of what it leaves in validation."""
_LEARNED_ON = 0.9
"""A training loss that falls below this part of the best epoch's says that the network could fit more."""
_FEW_ROWS = 100
_SPLITS = ("train", "validation")
_HIDDEN = ((128, 64), (256, 128), (512, 256), (1024, 512), (2048, 1024))


class Fit(Document):
    """How well one split is predicted."""

    value: float
    """The metric."""
    trivial: float
    """The metric of the trivial prediction on the same rows."""
    left: float
    """The share of the trivial prediction's error that the network leaves."""


class Diagnosis(Document):
    """What the errors of training and validation say together."""

    verdict: Literal["underfitting", "just right", "overfitting"]
    """The verdict."""
    reason: str
    """Why, with the numbers."""
    metric: str
    """The metric that is compared."""
    train: Fit
    """On the training rows."""
    validation: Fit
    """On the validation rows."""
    suggestion: dict[str, Any]
    """Spec keys, with dots, and the value to try next; empty when there is nothing to change in the spec."""
    advice: str
    """The next step in words."""


def diagnose(
    scored: Mapping[str, Scored],
    measured: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    history: Mapping[str, Any],
    parameters: int,
) -> Diagnosis | None:
    """Return the diagnosis by the deciding metric, or by the squared error or log loss where that is not defined.

    `scored` and `measured` hold the predictions and the metrics of train and validation, `history` is what train
    publishes as history.json, and `parameters` is how many numbers the network learned. None comes back where the
    target does not vary, so that there is nothing to compare with.
    """
    trivial = {split: metrics.compute(trivial_prediction(scored[split], scored["train"])) for split in _SPLITS}
    for name in (_comparable(metric), _fallback(scored["train"])):
        if name not in trivial["train"]:  # a metric that the spec names, whose best value is not known
            continue
        train, validation = (_fit(name, measured[split][name], trivial[split][name]) for split in _SPLITS)
        if train and validation:
            break
    else:
        return None
    verdict = _verdict(train.left, validation.left, history)
    suggestion, advice = _next_step(verdict, history, parameters)
    return Diagnosis(
        verdict=verdict,
        reason=_reason(verdict, train, validation, len(scored["validation"].truth)),
        metric=name,
        train=train,
        validation=validation,
        suggestion=suggestion,
        advice=advice,
    )


def _comparable(metric: str) -> str:
    return metric.removeprefix("root_")


def _fallback(train: Scored) -> str:
    return "mean_squared_error" if train.problem in REGRESSION else "log_loss"


def _fit(metric: str, value: float, trivial: float) -> Fit | None:
    """Return None where the metric, or the comparison, is not defined."""
    error, trivial_error = (each if metrics.lower_is_better(metric) else 1 - each for each in (value, trivial))
    left = error / trivial_error if trivial_error > 0 else math.nan
    return Fit(value=value, trivial=trivial, left=left) if math.isfinite(left) else None


def trivial_prediction(scored: Scored, train: Scored) -> Scored:
    """Return the same rows predicted by the training rows' mean, or by how frequent their classes or labels are."""
    if train.problem in ("binary", "multiclass"):
        counts = np.bincount(train.truth, train.weight, minlength=len(train.names))
        constant: Array = counts / counts.sum()
    else:
        constant = np.average(train.truth, axis=0, weights=train.weight)
    return dataclasses.replace(scored, predicted=np.broadcast_to(constant, (len(scored.truth), len(constant))))


def _verdict(
    train: float, validation: float, history: Mapping[str, Any]
) -> Literal["underfitting", "just right", "overfitting"]:
    if validation - train > _GAP and train < _MUCH_LOWER * validation:
        return "overfitting"
    return "underfitting" if train > _HIGH and not _could_fit_more(history) else "just right"


def _could_fit_more(history: Mapping[str, Any]) -> bool:
    """Say whether, after the best epoch, training lowered the training loss and raised the validation loss."""
    loss, validation, best = history["loss"], history["validation_loss"], history["best_epoch"] - 1
    return bool(loss[-1] < _LEARNED_ON * loss[best] and validation[-1] > validation[best])


def _reason(verdict: str, train: Fit, validation: Fit, rows: int) -> str:
    said = {
        "overfitting": "The training error is much lower than the validation error",
        "underfitting": "The training error is high, and the validation error is not much higher"
        if validation.left >= train.left
        else "The training error is high, and the validation error is no higher",
        "just right": "The training error is low, and the validation error is close to it"
        if train.left <= _HIGH
        else "The errors are high but close, and training for longer lowered that of training alone: the network is "
        "large enough for what the columns hold",
    }[verdict]
    reason = (
        f"{said}. Of the error of a trivial prediction, which knows none of the columns, the network leaves "
        f"{percent(train.left)} on the training rows and {percent(validation.left)} on the validation rows."
    )
    if rows < _FEW_ROWS:
        reason += f" With {rows:,} validation rows this is a hint, not a finding."
    return reason


def _next_step(verdict: str, history: Mapping[str, Any], parameters: int) -> tuple[dict[str, Any], str]:
    epochs = len(history["loss"])
    if verdict == "overfitting":
        return {"network.dropout": 0.2}, (
            "Hold the network back. If it has dropout already, raise it, make the hidden layers smaller, "
            "or find more rows."
        )
    if history["best_epoch"] == epochs:
        return {"training.epochs": 2 * epochs}, (
            "The validation loss was still falling in the last epoch: train for longer."
        )
    if verdict == "underfitting":
        hidden = next((sizes for sizes in _HIDDEN if math.prod(sizes) > parameters), None)
        return {} if hidden is None else {"network.hidden": list(hidden)}, (
            f"Try a larger network than this one of {parameters:,} parameters. If that does not help, the columns hold "
            "no more about the target, and better ones are needed."
        )
    return {}, "Leave the network as it is: more rows and better columns are what may help now."
