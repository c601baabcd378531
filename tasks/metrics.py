"""Metrics of predictions: some of every run, by scikit-learn, and those that the spec names.

All are computed once, from whole predictions and their weights, under their names in snake case.
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn import metrics as sk

from schemas import fits, names
from schemas.data import Problem
from schemas.errors import SpecError
from schemas.named import Metric
from tasks import scores
from tasks.encoders.base import Array
from tasks.scored import Scored

__all__ = ["DEFAULT_METRIC", "LOWER_IS_BETTER", "Scored", "better", "compute", "deciding", "lower_is_better", "roc_auc"]

_TOP = 3

Figure = Callable[[], Any]
"""Computes a metric of some predictions: a number."""


DEFAULT_METRIC: Mapping[Problem, str] = {
    "regression": "root_mean_squared_error",
    "multioutput_regression": "root_mean_squared_error",
    "binary": "roc_auc",
    "multilabel": "roc_auc",
    "multiclass": "accuracy",
}

LOWER_IS_BETTER = frozenset(
    {"root_mean_squared_error", "mean_squared_error", "mean_absolute_error", "log_loss", "hamming_loss", "brier_score"}
)


def compute(scored: Scored, wanted: Sequence[Metric] = (), *, key: str = "evaluation.metrics") -> dict[str, float]:
    """Return the problem's metrics by name, then those wanted; NaN for one that is not defined, such as an AUC.

    None is defined for rows that all weigh nothing. Raises SpecError, with the key of the spec that names it, for a
    metric that does not fit the problem.
    """
    if not scored.weighs:
        return dict.fromkeys(compute(dataclasses.replace(scored, weight=None), wanted, key=key), math.nan)
    found = {name: _value(figure) for name, figure in _figures(scored).items()}
    for metric in wanted:
        found |= {name: value for name, value in _wanted(metric, scored, key).items() if name not in found}
    return found


def compute_one(name: str, scored: Scored, wanted: Sequence[Metric] = ()) -> float:
    """Return what `compute` gives by a name, without computing the figures that every run has beside it."""
    return compute_some([name], scored, wanted)[name]


def compute_some(chosen: Sequence[str], scored: Scored, wanted: Sequence[Metric] = ()) -> dict[str, float]:
    """Return what `compute` gives by some names, in their order, without computing others."""
    if not scored.weighs:
        return dict.fromkeys(chosen, math.nan)
    figures = _figures(scored)
    found = {name: _value(figures[name]) for name in chosen if name in figures}
    for metric in wanted:
        if not found.keys() >= set(chosen):
            found = _wanted(metric, scored, "evaluation.metrics") | found
    return {name: found[name] for name in chosen}


def _value(figure: Figure) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what is NaN or 0 in the result
        return float(figure())


def _figures(scored: Scored) -> dict[str, Figure]:
    """Return what computes each of the problem's metrics, by name."""
    figures_of = {
        "regression": _regression,
        "multioutput_regression": _multioutput,
        "binary": _binary,
        "multilabel": _multilabel,
        "multiclass": _multiclass,
    }
    return figures_of[scored.problem](scored)


def _wanted(metric: Metric, scored: Scored, key: str) -> dict[str, float]:
    """Return the figures of a metric of the spec: one, or one for each output or label under `metric[label]`."""
    try:
        name, value = _named(metric, scored, key)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{key}: {metric.name} refuses {metric.arguments}: {error}") from error
    values = np.atleast_1d(np.asarray(value, np.float64))
    if len(values) == 1:
        return {name: float(values[0])}
    outputs: Sequence[Any] = scored.names if len(values) == len(scored.names) else range(len(values))
    return {f"{name}[{output}]": float(each) for output, each in zip(outputs, values, strict=True)}


def _named(metric: Metric, scored: Scored, key: str) -> tuple[str, Any]:
    """Return the name and the value, or values, of a metric; none where it is computed of every run."""
    if names.is_reference(metric.name):
        from tasks import keras_metrics

        return label(metric, metric.name.partition(":")[2]), keras_metrics.own(metric, scored)
    try:
        library, entry = fits.metric(metric.name.partition("[")[0], metric.arguments, said_of(scored))
    except ValueError as error:
        raise SpecError(f"{key}: {error}") from error
    if library == "figure":
        return entry.name, ()
    if library == "metric":
        from tasks import keras_metrics

        return label(metric, entry.snake), keras_metrics.compute(entry.name, scored, metric.arguments)
    return label(metric, entry.snake), scores.compute(entry.name, scored, metric.arguments)


def said_of(scored: Scored) -> fits.Said:
    """Return what was said by the network whose predictions these are."""
    return fits.said_by(scored.problem, outputs=len(scored.names))


def label(metric: Metric, snake: str) -> str:
    """Return the name of a metric's figure: with its arguments, which make it another one."""
    arguments = ",".join(f"{name}={value}" for name, value in metric.arguments.items())
    return f"{snake}({arguments})" if arguments else snake


def name_of(metric: Metric) -> str:
    """Return the name that a metric's figure has in reports, which `deciding` finds among all figures."""
    if names.is_reference(metric.name):
        return label(metric, metric.name.partition(":")[2])
    name, bracket, output = metric.name.partition("[")
    known = next((entry for library in names.LIBRARIES if (entry := names.known(name, library))), None)
    return label(metric, (known.snake if known else name) + bracket + output)


def lower_is_better(metric: str) -> bool:
    """Say whether a lower value of a metric, or of `metric[output]` or `metric(argument)`, is the better one.

    For a name that nobody knows scikit-learn's convention says it: one that ends with _error, _loss or _deviance.
    """
    name = metric.partition("[")[0].partition("(")[0]
    if name in LOWER_IS_BETTER:
        return True
    known = names.known(name, "figure") or names.known(name, "metric") or names.known(name, "score")
    return bool(known.lower_is_better if known else scores.lower_is_better(name))


def better(metric: str, value: float, than: float) -> bool:
    """Say whether a value of a metric is better than another."""
    return value < than if lower_is_better(metric) else value > than


def deciding(
    metric: Metric | str | None, problem: Problem, known: Mapping[str, float], *, key: str = "evaluation.metric"
) -> str:
    """Return the name of the metric that decides; raises SpecError when it is none of those that are computed."""
    if metric is None:
        return DEFAULT_METRIC[problem]
    wanted = Metric.model_validate(metric)
    snakes = [entry.snake for library in names.LIBRARIES if (entry := names.known(wanted.name, library))]
    own = [wanted.name.partition(":")[2]] if names.is_reference(wanted.name) else []
    labels = [wanted.name, *(label(wanted, snake) for snake in (*own, *snakes))]
    if (name := next((each for each in labels if each in known), None)) is None:
        there = ", ".join(known)
        raise SpecError(f"{key}: no metric {wanted.name!r} for problem {problem}; there are {there}")
    return name


def _regression(scored: Scored) -> dict[str, Figure]:
    truth, predicted, weight = scored.truth, scored.predicted, scored.weight
    return {
        "mean_absolute_error": lambda: sk.mean_absolute_error(truth, predicted, sample_weight=weight),
        "mean_squared_error": lambda: sk.mean_squared_error(truth, predicted, sample_weight=weight),
        "root_mean_squared_error": lambda: sk.root_mean_squared_error(truth, predicted, sample_weight=weight),
        "r2": lambda: sk.r2_score(truth, predicted, sample_weight=weight),
    }


def _multioutput(scored: Scored) -> dict[str, Figure]:
    """The averages over the outputs, then each output's own figures under `metric[output]`."""
    each = dict[str, Figure]()
    for index, name in enumerate(scored.names):
        column = slice(index, index + 1)
        one = Scored("regression", (name,), scored.truth[:, column], scored.predicted[:, column], scored.weight)
        each |= {f"{metric}[{name}]": figure for metric, figure in _regression(one).items()}
    return _regression(scored) | each


def _binary(scored: Scored) -> dict[str, Figure]:
    truth, probability, decided, weight = scored.truth, scored.predicted[:, 1], scored.decided, scored.weight
    return {
        "roc_auc": lambda: roc_auc(truth, probability, weight),
        "pr_auc": lambda: (
            sk.average_precision_score(truth, probability, sample_weight=weight) if truth.any() else math.nan
        ),
        "log_loss": lambda: sk.log_loss(truth, scored.predicted, labels=[0, 1], sample_weight=weight),
        "brier_score": lambda: sk.brier_score_loss(truth, probability, sample_weight=weight),
        "accuracy": lambda: sk.accuracy_score(truth, decided, sample_weight=weight),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(truth, decided, sample_weight=weight),
        "precision": lambda: sk.precision_score(truth, decided, sample_weight=weight, zero_division=0),
        "recall": lambda: sk.recall_score(truth, decided, sample_weight=weight, zero_division=0),
        "specificity": lambda: sk.recall_score(truth, decided, sample_weight=weight, pos_label=0, zero_division=0),
        "f1": lambda: sk.f1_score(truth, decided, sample_weight=weight, zero_division=0),
    }


def _multiclass(scored: Scored) -> dict[str, Figure]:
    truth, decided, weight = scored.truth, scored.decided, scored.weight
    codes = list(range(len(scored.names)))
    f1 = functools.partial(sk.f1_score, truth, decided, labels=codes, sample_weight=weight, zero_division=0)
    top = functools.partial(sk.top_k_accuracy_score, truth, scored.predicted, labels=codes, sample_weight=weight)
    return {
        "accuracy": lambda: sk.accuracy_score(truth, decided, sample_weight=weight),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(truth, decided, sample_weight=weight),
        "f1_macro": lambda: f1(average="macro"),
        "f1_weighted": lambda: f1(average="weighted"),
        "log_loss": lambda: sk.log_loss(truth, scored.predicted, labels=codes, sample_weight=weight),
        **({f"top_{_TOP}_accuracy": lambda: top(k=_TOP)} if len(codes) > _TOP else {}),
    }


def _multilabel(scored: Scored) -> dict[str, Figure]:
    truth, decided, weight = scored.truth, scored.decided, scored.weight
    # A single label looks to scikit-learn like two classes, of which only the second counts.
    labels = [1] if truth.shape[1] == 1 else None
    f1 = functools.partial(sk.f1_score, truth, decided, labels=labels, sample_weight=weight, zero_division=0)
    return {
        "hamming_loss": lambda: sk.hamming_loss(truth, decided, sample_weight=weight),
        "subset_accuracy": lambda: sk.accuracy_score(truth, decided, sample_weight=weight),
        "f1_micro": lambda: f1(average="micro"),
        "f1_macro": lambda: f1(average="macro"),
        "roc_auc": lambda: _mean_roc_auc(scored),
        "log_loss": lambda: np.mean([_log_loss(scored, at) for at in range(truth.shape[1])]),
    }


def _mean_roc_auc(scored: Scored) -> float:
    areas = [roc_auc(*columns, scored.weight) for columns in zip(scored.truth.T, scored.predicted.T, strict=True)]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else math.nan


def _log_loss(scored: Scored, at: int) -> float:
    return float(sk.log_loss(scored.truth[:, at], scored.predicted[:, at], labels=[0, 1], sample_weight=scored.weight))


def roc_auc(truth: Array, probability: Array, weight: Array | None = None) -> float:
    """Return the area under the ROC curve of zeros and ones, shape (n,); NaN where all rows that weigh are alike."""
    present = truth if weight is None else truth[weight > 0]
    if not 0 < present.sum() < len(present):
        return math.nan
    return float(sk.roc_auc_score(truth, probability, sample_weight=weight))
