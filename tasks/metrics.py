"""Metrics of predictions, by scikit-learn, under its names in snake case."""

import functools
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn import metrics as sk

from schemas.errors import SpecError
from schemas.spec import Problem
from tasks.encoders.base import Array

_TOP = 3


@dataclass(frozen=True)
class Scored:
    """Predictions beside the truth.

    `truth` are numbers of shape (n, outputs), codes of shape (n,), or zeros and ones of shape (n, labels);
    `predicted` are numbers of the same shape, probabilities of shape (n, classes), or of shape (n, labels);
    `weight` has shape (n,) or is None. `names` are the outputs, classes or labels.
    """

    problem: Problem
    names: tuple[str, ...]
    truth: Array
    predicted: Array
    weight: Array | None = None

    @property
    def decided(self) -> Array:
        """Codes of the most probable classes, shape (n,); of labels, zeros and ones cut at 0.5, shape (n, labels)."""
        return (
            (self.predicted >= 0.5).astype(np.int8) if self.problem == "multilabel" else self.predicted.argmax(axis=1)
        )


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


def compute(scored: Scored) -> dict[str, float]:
    """Return the problem's metrics by name; NaN for one that is not defined, such as an AUC over one class."""
    compute_for = {
        "regression": _regression,
        "multioutput_regression": _multioutput,
        "binary": _binary,
        "multilabel": _multilabel,
        "multiclass": _multiclass,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what is NaN or 0 in the result
        return {name: float(value) for name, value in compute_for[scored.problem](scored).items()}


def lower_is_better(metric: str) -> bool:
    """Say whether a lower value of a metric, or of `metric[output]`, is the better one."""
    return metric.partition("[")[0] in LOWER_IS_BETTER


def better(metric: str, value: float, than: float) -> bool:
    """Say whether a value of a metric is better than another."""
    return value < than if lower_is_better(metric) else value > than


def deciding(metric: str | None, problem: Problem, known: Mapping[str, float]) -> str:
    """Return the metric that decides; raises SpecError when it is none of those that are computed."""
    name = metric or DEFAULT_METRIC[problem]
    if name not in known:
        raise SpecError(f"evaluation.metric: no metric {name!r} for problem {problem}; there are {', '.join(known)}")
    return name


def _regression(scored: Scored) -> dict[str, float]:
    truth, predicted, weight = scored.truth, scored.predicted, scored.weight
    return {
        "mean_absolute_error": sk.mean_absolute_error(truth, predicted, sample_weight=weight),
        "mean_squared_error": sk.mean_squared_error(truth, predicted, sample_weight=weight),
        "root_mean_squared_error": sk.root_mean_squared_error(truth, predicted, sample_weight=weight),
        "r2": sk.r2_score(truth, predicted, sample_weight=weight),
    }


def _multioutput(scored: Scored) -> dict[str, float]:
    """The averages over the outputs, then each output's own figures under `metric[output]`."""
    each = dict[str, float]()
    for index, name in enumerate(scored.names):
        column = slice(index, index + 1)
        one = Scored("regression", (name,), scored.truth[:, column], scored.predicted[:, column], scored.weight)
        each |= {f"{metric}[{name}]": value for metric, value in _regression(one).items()}
    return _regression(scored) | each


def _binary(scored: Scored) -> dict[str, float]:
    truth, probability, decided, weight = scored.truth, scored.predicted[:, 1], scored.decided, scored.weight
    return {
        "roc_auc": roc_auc(truth, probability, weight),
        "pr_auc": sk.average_precision_score(truth, probability, sample_weight=weight) if truth.any() else math.nan,
        "log_loss": sk.log_loss(truth, scored.predicted, labels=[0, 1], sample_weight=weight),
        "brier_score": sk.brier_score_loss(truth, probability, sample_weight=weight),
        "accuracy": sk.accuracy_score(truth, decided, sample_weight=weight),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, decided, sample_weight=weight),
        "precision": sk.precision_score(truth, decided, sample_weight=weight, zero_division=0),
        "recall": sk.recall_score(truth, decided, sample_weight=weight, zero_division=0),
        "specificity": sk.recall_score(truth, decided, sample_weight=weight, pos_label=0, zero_division=0),
        "f1": sk.f1_score(truth, decided, sample_weight=weight, zero_division=0),
    }


def _multiclass(scored: Scored) -> dict[str, float]:
    truth, decided, weight = scored.truth, scored.decided, scored.weight
    codes = list(range(len(scored.names)))
    f1 = functools.partial(sk.f1_score, truth, decided, labels=codes, sample_weight=weight, zero_division=0)
    top = {}
    if len(codes) > _TOP:
        value = sk.top_k_accuracy_score(truth, scored.predicted, k=_TOP, labels=codes, sample_weight=weight)
        top = {f"top_{_TOP}_accuracy": value}
    return {
        "accuracy": sk.accuracy_score(truth, decided, sample_weight=weight),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, decided, sample_weight=weight),
        "f1_macro": f1(average="macro"),
        "f1_weighted": f1(average="weighted"),
        "log_loss": sk.log_loss(truth, scored.predicted, labels=codes, sample_weight=weight),
        **top,
    }


def _multilabel(scored: Scored) -> dict[str, float]:
    truth, decided, weight = scored.truth, scored.decided, scored.weight
    # A single label looks to scikit-learn like two classes, of which only the second counts.
    labels = [1] if truth.shape[1] == 1 else None
    f1 = functools.partial(sk.f1_score, truth, decided, labels=labels, sample_weight=weight, zero_division=0)
    aucs = [roc_auc(truth[:, at], scored.predicted[:, at], weight) for at in range(truth.shape[1])]
    return {
        "hamming_loss": sk.hamming_loss(truth, decided, sample_weight=weight),
        "subset_accuracy": sk.accuracy_score(truth, decided, sample_weight=weight),
        "f1_micro": f1(average="micro"),
        "f1_macro": f1(average="macro"),
        "roc_auc": np.nanmean(aucs) if np.isfinite(aucs).any() else np.nan,
        "log_loss": np.mean([_log_loss(scored, at) for at in range(truth.shape[1])]),
    }


def _log_loss(scored: Scored, at: int) -> float:
    return float(sk.log_loss(scored.truth[:, at], scored.predicted[:, at], labels=[0, 1], sample_weight=scored.weight))


def roc_auc(truth: Array, probability: Array, weight: Array | None = None) -> float:
    """Return the area under the ROC curve of zeros and ones, shape (n,); NaN where all rows that weigh are alike."""
    present = truth if weight is None else truth[weight > 0]
    if not 0 < present.sum() < len(present):
        return math.nan
    return float(sk.roc_auc_score(truth, probability, sample_weight=weight))
