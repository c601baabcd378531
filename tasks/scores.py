"""Scores by name: scikit-learn's, and those that it lacks. What one takes is read from its own signature.

scikit-learn's convention says which way is better: "functions ending with _score return a value to maximize", those
with _error, _loss or _deviance one to minimize (https://scikit-learn.org/stable/modules/model_evaluation.html).
"""

import inspect
import math
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn.metrics as sk
from sklearn.utils._param_validation import InvalidParameterError

from schemas.data import REGRESSION, Problem
from tasks.encoders.base import Array
from tasks.scored import Scored, sample

_IS_SCORE = r"_(score|loss|error|deviance|corrcoef)$"
FIXED = frozenset(
    {
        "y_true",
        "y_pred",
        "y_score",
        "y_proba",
        "y1",
        "y2",
        "sample_weight",
        "labels",
        "pos_label",
        "normalize",
        "scored",
    }
    | {"replace_undefined_by", "zero_division"}
)
"""Arguments that follow from the problem, or from NaN being what is not defined."""
_LOWER = r"_(loss|error|deviance)$"
_TAKEN = {"y_pred", "y_score", "y_proba", "y2"}


def names() -> tuple[str, ...]:
    """Return the names of all scores: functions of truth and prediction that give a figure."""
    functions = ((name, value) for name, value in vars(sk).items() if re.search(_IS_SCORE, name))
    return (*(name for name, value in functions if _TAKEN & {*inspect.signature(value).parameters}), *OWN)


def function(name: str) -> Callable[..., Any]:
    """Return the function of a name."""
    found: Callable[..., Any] = OWN.get(name) or getattr(sk, name)
    return found


def lower_is_better(name: str) -> bool | None:
    """Say by scikit-learn's convention whether a lower value of a score is the better one; None for a coverage."""
    return None if name == "quantile_coverage" else re.search(_LOWER, name) is not None


def takes(name: str, problem: Problem) -> bool:
    """Say whether a score gives a figure for the predictions of a problem, by trying it."""
    if name in OWN:
        return problem in _PROBLEMS[name]
    found = function(name)
    if found.__module__.endswith("_regression") != (problem in REGRESSION):
        return False
    required = {"beta": 1.0} if "beta" in inspect.signature(found).parameters else {}
    try:
        return bool(np.isfinite(_computed(name, sample(problem), required)).all())
    except (TypeError, ValueError):
        return False


def compute(name: str, scored: Scored, arguments: Mapping[str, Any]) -> float | Array:
    """Return a figure, or one for each output or label; NaN where it is not defined for these rows.

    Raises ValueError for an argument of a wrong value.
    """
    if name in OWN:
        return OWN[name](scored, **arguments)
    try:
        return _computed(name, scored, arguments)
    except InvalidParameterError:
        raise
    except ValueError:  # such as a deviance of values below 0
        return math.nan


def _computed(name: str, scored: Scored, arguments: Mapping[str, Any]) -> float | Array:
    parameters = inspect.signature(function(name)).parameters
    given = {**_defaults(scored, parameters), **arguments}
    if "sample_weight" in parameters:
        given["sample_weight"] = scored.weight
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what is NaN or 0 in the result
        value = function(name)(scored.truth, _prediction(scored, parameters), **given)
    return np.asarray(value, np.float64) if np.ndim(value) else float(value)


def _prediction(scored: Scored, parameters: Mapping[str, Any]) -> Array:
    """Return what the function's second parameter says that it wants."""
    if scored.problem in REGRESSION:
        return scored.predicted
    if "y_score" in parameters or "y_proba" in parameters:
        return scored.predicted[:, 1] if scored.problem == "binary" else scored.predicted
    return scored.decided


def _defaults(scored: Scored, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a problem asks of a function beside its own defaults."""
    given: dict[str, Any] = {}
    if scored.problem == "multiclass":
        given = {"labels": list(range(len(scored.names))), "multi_class": "ovr", "average": "macro"}
    elif scored.problem == "multilabel":
        # A single label looks to scikit-learn like two classes, of which only the second counts.
        given = {"average": "macro", "labels": [1] if len(scored.names) == 1 else None}
    return {name: value for name, value in (given | {"zero_division": 0}).items() if name in parameters}


def specificity(scored: Scored) -> float:
    """Return TN / (TN + FP): how many of the negatives are found, averaged over classes or labels where there are more.

    A class without negatives is left out.
    """
    codes = None if scored.problem == "multilabel" else list(range(len(scored.names)))
    cells = sk.multilabel_confusion_matrix(scored.truth, scored.decided, sample_weight=scored.weight, labels=codes)
    cells = cells[-1:] if scored.problem == "binary" else cells
    negatives = cells[:, 0].sum(axis=1)
    shares = np.divide(cells[:, 0, 0], negatives, out=np.full(len(cells), np.nan), where=negatives > 0)
    return float(np.nanmean(shares)) if np.isfinite(shares).any() else math.nan


def expected_calibration_error(scored: Scored, bins: int = 10) -> float:
    """Return the mean distance between what is predicted and how often it is so, over equal bins of the probability.

    Multiclass: of the class decided on (Guo et al. 2017, On Calibration of Modern Neural Networks). Binary: of the
    positive class. Multilabel: of each label, averaged.
    """
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins must be 1 or more, got {bins!r}")
    if scored.problem == "multilabel":
        labels = range(len(scored.names))
        return float(
            np.mean([_calibration(scored, scored.predicted[:, at], scored.truth[:, at], bins) for at in labels])
        )
    if scored.problem == "binary":
        return _calibration(scored, scored.predicted[:, 1], scored.truth, bins)
    return _calibration(scored, scored.predicted.max(axis=1), scored.decided == scored.truth, bins)


def _calibration(scored: Scored, said: Array, seen: Array, bins: int) -> float:
    weight = np.ones(len(said)) if scored.weight is None else scored.weight
    at = np.minimum((said * bins).astype(int), bins - 1)
    gaps = np.bincount(at, weight * said, minlength=bins) - np.bincount(at, weight * seen, minlength=bins)
    return float(np.abs(gaps).sum() / weight.sum())


def quantile_coverage(scored: Scored) -> float:
    """Return the share of targets at or below their prediction: 0.9 for a good prediction of the 90 % quantile."""
    return float(np.average((scored.truth <= scored.predicted).mean(axis=1), weights=scored.weight))


OWN: Mapping[str, Callable[..., float]] = {
    "specificity": specificity,
    "expected_calibration_error": expected_calibration_error,
    "quantile_coverage": quantile_coverage,
}
_PROBLEMS: Mapping[str, frozenset[Problem]] = {
    "specificity": frozenset({"binary", "multiclass", "multilabel"}),
    "expected_calibration_error": frozenset({"binary", "multiclass", "multilabel"}),
    "quantile_coverage": REGRESSION,
}
