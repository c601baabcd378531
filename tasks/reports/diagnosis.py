"""Underfitting, just right or overfitting: a verdict in words, with the numbers that it rests on.

Each split's error is set beside the error of a trivial prediction, which knows the target's training distribution and
none of the columns (regression: the mean; classes and labels: how frequent they are). What the network leaves of it,
the share left, is 0 for a perfect model and 1 for one that has learned nothing. A root of squares is compared as the
square: its share left is then 1 − R².

A high error alone is not underfitting: a network that went on to fit the training rows better after its best epoch,
and the validation rows worse, is large enough, and the rest is noise or missing columns. Nor is a small gap alone just
right: the weights kept are those of the best epoch, and a network that has learned hardly anything by then and the
training rows by heart soon after overfits.

The generalisation gap is the share left in validation less that in training. Its interval is that of the bootstrap over
the rows of both; the network stays the same.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from schemas.data import REGRESSION
from schemas.document import Record
from schemas.evaluation import Evaluation
from tasks import metrics
from tasks.encoders.base import Array
from tasks.findings.network import Network, larger, smaller
from tasks.findings.refits import Size
from tasks.findings.resampling import interval, measure, resampled
from tasks.metrics import Scored
from tasks.reports.formatting import percent, points

_HIGH = 0.5
"""A share left in training above this is underfitting, where validation does not differ more than training allows."""
_GAP = 0.1
"""Overfitting leaves in validation this much more than in training,"""
_MUCH_LOWER = 0.75
"""and in training no more than this part of what it leaves in validation."""
_LEARNED_ON = 0.1
"""A training loss that falls by more than this part of the best epoch's says that the network could fit more."""
_BY_HEART, _WORSE = 0.25, 0.1
"""By heart: after the best epoch the training loss falls by more than this part, and the validation loss rises so."""
_HARDLY_ANYTHING = 0.9
"""A share left in validation above this is next to nothing learned."""
_FEW_ROWS = 100
_SPLITS = ("train", "validation")
_DROPOUT = 0.2
"""What dropout begins with, and what it is raised by."""
_MOST_DROPOUT = 0.5
_GAIN = 0.02
"""A validation error that falls by more than this part with the last rows would fall with more of them."""
_LARGEST = 4096
"""No hidden layer of more units is suggested."""
_SHARES = (0.25, 0.5)
"""Of the training rows: what is suggested for evaluation.data_sizes."""


class Fit(Record):
    """How well one split is predicted."""

    value: float
    """The metric."""
    trivial: float
    """The metric of the trivial prediction on the same rows."""
    left: float
    """The share of the trivial prediction's error that the network leaves."""


class Gap(Record):
    """How much more of the trivial error is left in validation than in training."""

    left: float
    """The difference of the shares."""
    low: float | None = None
    """Lower end of its 95 % interval; null where it was not asked for or is not defined."""
    high: float | None = None
    """The upper end."""


class Diagnosis(Record):
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
    gap: Gap
    """What lies between the two."""
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
    network: Network,
    evaluation: Evaluation,
    sizes: Sequence[Size] = (),
) -> Diagnosis | None:
    """Return the diagnosis by the deciding metric, or by the squared error or log loss where that is not defined.

    `scored` and `measured` hold the predictions and the metrics of train and validation, `history` is what train
    publishes as history.json, and `sizes` say how good networks are that learned from fewer rows. None comes back where
    the target does not vary, so that there is nothing to compare with.
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
    curves = _Curves.of(history)
    verdict = _verdict(train.left, validation.left, curves)
    gap = _gap(name, scored, train, validation, evaluation)
    suggestion, advice = _next_step(verdict, history, network, _rows_said(metric, sizes))
    return Diagnosis(
        verdict=verdict,
        reason=_reason(verdict, train, validation, gap=gap, curves=curves, rows=len(scored["validation"].truth)),
        metric=name,
        train=train,
        validation=validation,
        gap=gap,
        suggestion=suggestion,
        advice=advice,
    )


def _comparable(metric: str) -> str:
    return metric.removeprefix("root_")


def _fallback(train: Scored) -> str:
    return "mean_squared_error" if train.problem in REGRESSION else "log_loss"


def _fit(metric: str, value: float, trivial: float) -> Fit | None:
    """Return None where the metric, or the comparison, is not defined."""
    trivial_error = _error(metric, trivial)
    left = _error(metric, value) / trivial_error if trivial_error > 0 else math.nan
    return Fit(value=value, trivial=trivial, left=left) if math.isfinite(left) else None


def _error(metric: str, value: float) -> float:
    return value if metrics.lower_is_better(metric) else 1 - value


def _gap(metric: str, scored: Mapping[str, Scored], train: Fit, validation: Fit, evaluation: Evaluation) -> Gap:
    gap, resamples = validation.left - train.left, evaluation.bootstrap
    if not resamples:
        return Gap(left=gap)
    score = measure(metric)

    def left(said: Scored, trivial: Scored) -> float:
        fit = _fit(metric, score(said), score(trivial))
        return fit.left if fit else math.nan

    of_train, of_validation = (
        resampled(
            left, scored[split], trivial_prediction(scored[split], scored["train"]), resamples=resamples, seed=seed
        )
        for seed, split in enumerate(_SPLITS, start=evaluation.seed)
    )
    found = interval(of_validation - of_train)
    return Gap(left=gap) if found is None else Gap(left=gap, low=found.low, high=found.high)


def trivial_prediction(scored: Scored, train: Scored) -> Scored:
    """Return the same rows predicted by the training rows' mean, or by how frequent their classes or labels are."""
    if train.problem in ("binary", "multiclass"):
        counts = np.bincount(train.truth, train.weight, minlength=len(train.names))
        constant: Array = counts / counts.sum()
    else:
        constant = np.average(train.truth, axis=0, weights=train.weight)
    return dataclasses.replace(scored, predicted=np.broadcast_to(constant, (len(scored.truth), len(constant))))


def _verdict(
    train: float, validation: float, curves: "_Curves"
) -> Literal["underfitting", "just right", "overfitting"]:
    apart = validation - train > _GAP
    if apart and train < _MUCH_LOWER * validation:
        return "overfitting"
    if train <= _HIGH:
        return "just right"
    if curves.by_heart and (apart or validation > _HARDLY_ANYTHING):
        return "overfitting"
    return "just right" if curves.could_fit_more and validation <= _HARDLY_ANYTHING else "underfitting"


@dataclass(frozen=True)
class _Curves:
    """What the losses did after the best epoch, as parts of what they were there."""

    epoch: int
    fall: float
    """Of the training loss."""
    rise: float
    """Of the validation loss."""

    @classmethod
    def of(cls, history: Mapping[str, Any]) -> "_Curves":
        epoch = history["best_epoch"]
        changes = ((history[name][-1], history[name][epoch - 1]) for name in ("loss", "validation_loss"))
        loss, validation = ((last - best) / max(abs(best), sys.float_info.min) for last, best in changes)
        return cls(epoch, -loss, validation)

    @property
    def could_fit_more(self) -> bool:
        return self.fall > _LEARNED_ON and self.rise > 0

    @property
    def by_heart(self) -> bool:
        return self.fall > _BY_HEART and self.rise > _WORSE


def _reason(verdict: str, train: Fit, validation: Fit, *, gap: Gap, curves: _Curves, rows: int) -> str:
    said = {
        "overfitting": "The training error is much lower than the validation error"
        if train.left < _MUCH_LOWER * validation.left
        else f"The network learned the training rows by heart: after epoch {curves.epoch}, whose weights were kept, "
        f"the training loss fell by {percent(curves.fall)} while the validation loss rose by {percent(curves.rise)}",
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
    if gap.low is not None:
        reason += f" The gap of {points(gap.left)} has a 95\u00a0% interval of {points(gap.low)} to "
        reason += f"{points(gap.high)}."
        if gap.low <= 0 <= (gap.high or 0) and verdict == "overfitting":
            reason += " It holds 0: on so few rows the gap may be chance."
    if rows < _FEW_ROWS:
        reason += f" With {rows:,} validation rows this is a hint, not a finding."
    return reason


def _rows_said(metric: str, sizes: Sequence[Size]) -> str:
    """Return what the last step to all training rows has brought, in words; empty where nobody knows."""
    if len(sizes) < 2:
        return ""
    before, all_ = (_error(metric, size.validation) for size in sizes[-2:])
    gain = (before - all_) / before if before > 0 else 0.0
    steps = f"From {sizes[-2].rows:,} to {sizes[-1].rows:,} rows the validation error"
    if gain > _GAIN:
        return f"{steps} fell by {percent(gain)}: more rows are what helps."
    return f"{steps} hardly fell: better columns are what may help, not more rows."


def _next_step(
    verdict: str, history: Mapping[str, Any], network: Network, rows_said: str
) -> tuple[dict[str, Any], str]:
    """Return one key of the spec with its next value, or none, and the advice in words."""
    epochs = len(history["loss"])
    if verdict == "overfitting":
        return _held_back(network)
    if history["best_epoch"] == epochs:
        metric = history.get("decided_by")
        what = f"{metric} was best" if metric else "The validation loss was still falling"
        return {"training.epochs": 2 * epochs}, f"{what} in the last epoch: train for longer."
    if verdict == "underfitting":
        return _let_loose(network)
    if not rows_said:
        return {"evaluation.data_sizes": list(_SHARES)}, (
            "Leave the network as it is. Whether more rows would help, the next report shows with this key."
        )
    return {}, f"Leave the network as it is. {rows_said}"


def _held_back(network: Network) -> tuple[dict[str, Any], str]:
    more = "More rows help as well, and so does leaving out columns that say little."
    if network.dropout + _DROPOUT <= _MOST_DROPOUT:
        return {"network.dropout": round(network.dropout + _DROPOUT, 3)}, f"Hold the network back. {more}"
    if network.hidden and max(network.hidden) > 1:
        return {"network.hidden": smaller(network.hidden)}, f"Dropout is high already: try a smaller network. {more}"
    return {"network.l2": 0.01}, f"Hold the network back by penalties. {more}"


def _let_loose(network: Network) -> tuple[dict[str, Any], str]:
    else_ = "If that does not help, the columns hold no more about the target, and better ones are needed."
    if network.dropout > _DROPOUT:
        return {"network.dropout": round(network.dropout / 2, 3)}, f"Let the network fit more closely. {else_}"
    hidden = larger(network.hidden)
    if max(hidden) > _LARGEST:
        return {}, f"The network is large. {else_}"
    return {"network.hidden": hidden}, f"Try a larger network. {else_}"
