"""Underfitting, just right or overfitting: a verdict in words, with the numbers that it rests on.

Each split's error is set beside the error of a trivial prediction, which knows the target's training distribution and
none of the columns (regression: the mean; classes and labels: how frequent they are). What the network leaves of it,
the share left, is 0 for a perfect model and 1 for one that has learned nothing. A root of squares is compared as the
square: its share left is then 1 − R².
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
_FEW_ROWS = 100
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
    scored: Mapping[str, Scored], *, metric: str, history: Mapping[str, Any], parameters: int
) -> Diagnosis | None:
    """Return the diagnosis by the deciding metric; by the loss's own where that is not defined; None where none is.

    `scored` holds the splits train and validation, `history` is what train publishes as history.json, and
    `parameters` is how many numbers the network learned.
    """
    for name in (_comparable(metric), _fallback(scored["train"])):
        train, validation = (_fit(scored[split], scored["train"], name) for split in ("train", "validation"))
        if train and validation:
            break
    else:
        return None
    verdict = _verdict(train.left, validation.left)
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
    return metric.replace("root_mean_squared_error", "mean_squared_error", 1)


def _fallback(train: Scored) -> str:
    return "mean_squared_error" if train.problem in REGRESSION else "log_loss"


def _fit(scored: Scored, train: Scored, metric: str) -> Fit | None:
    """Return None where the metric, or the comparison, is not defined."""
    value, trivial = (metrics.compute(each)[metric] for each in (scored, trivial_prediction(scored, train)))
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
    return dataclasses.replace(scored, predicted=np.tile(constant, (len(scored.truth), 1)))


def _verdict(train: float, validation: float) -> Literal["underfitting", "just right", "overfitting"]:
    if validation - train > _GAP and train < _MUCH_LOWER * validation:
        return "overfitting"
    return "underfitting" if train > _HIGH else "just right"


def _reason(verdict: str, train: Fit, validation: Fit, rows: int) -> str:
    said = {
        "overfitting": "The training error is much lower than the validation error",
        "underfitting": "The training error is high, and the validation error is not much higher"
        if validation.left >= train.left
        else "The training error is high, and the validation error is no higher",
        "just right": "The training error is low, and the validation error is close to it",
    }[verdict]
    reason = (
        f"{said}: the network leaves {percent(train.left)} of the error of a prediction that knows none of the columns "
        f"on the training rows, and {percent(validation.left)} on the validation rows."
    )
    if rows < _FEW_ROWS:
        reason += f" With {rows:,} validation rows this is a hint, not a finding."
    return reason


def _next_step(verdict: str, history: Mapping[str, Any], parameters: int) -> tuple[dict[str, Any], str]:
    epochs = len(history["loss"])
    if verdict == "overfitting":
        return {"network.dropout": 0.2}, (
            "Hold the network back. If it has dropout already, raise it, make the hidden layers smaller, or bring more rows."
        )
    if history["best_epoch"] == epochs:
        return {"training.epochs": 2 * epochs}, (
            "The validation loss was still falling in the last epoch: train for longer."
        )
    if verdict == "underfitting":
        hidden = next((sizes for sizes in _HIDDEN if math.prod(sizes) > parameters), None)
        return {} if hidden is None else {"network.hidden": list(hidden)}, (
            f"Try a larger network than this one of {parameters:,} parameters. If that does not help, the columns say no "
            "more about the target: better ones would."
        )
    return {}, "Leave the network as it is: more rows and better columns are what may help now."
