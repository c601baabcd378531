"""Bootstrap: how far a figure would differ on other rows of the same kind.

Of many rows no more than 2,000 are drawn at a time, and the deviations shrunk by the root of their share: the m out of
n bootstrap (Bickel, Götze and van Zwet, 1997), whose cost does not grow with the rows.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.named import Metric
from tasks import metrics
from tasks.encoders.base import Array
from tasks.metrics import Scored

_MOST_ROWS = 2_000
_LEVEL = 0.95
_DEFINED = 0.5  # of the resamples: with fewer there is no interval


@dataclass(frozen=True)
class Interval:
    """Bounds between which most of the resamples lie, 95 % of them unless another level was asked for."""

    low: float
    high: float


def measure(metric: str, wanted: Sequence[Metric] = ()) -> Callable[[Scored], float]:
    """Return what computes one metric by its name: one of those of every run, or of those that the spec names.

    The usual ones are computed here, some hundred times as fast as scikit-learn does with its checks; what they give is
    the same. Others are computed by `metrics`, each alone. Of rows that all weigh nothing it is NaN.
    """

    def by_name(scored: Scored) -> float:
        return metrics.compute_one(metric, scored, wanted)

    score = _ALONE.get(metric, by_name)
    return lambda scored: score(scored) if scored.weighs else np.nan


def _accuracy(scored: Scored) -> float:
    return float(np.average(scored.truth == scored.decided, weights=scored.weight))


def _mean_absolute_error(scored: Scored) -> float:
    return float(np.average(np.abs(scored.truth - scored.predicted), axis=0, weights=scored.weight).mean())


def _mean_squared_error(scored: Scored) -> float:
    return float(_squares(scored).mean())


def _root_mean_squared_error(scored: Scored) -> float:
    return float(np.sqrt(_squares(scored)).mean())


def _squares(scored: Scored) -> Array:
    return np.average((scored.truth - scored.predicted) ** 2, axis=0, weights=scored.weight)


def _log_loss(scored: Scored) -> float:
    if scored.problem == "multilabel":
        said = np.where(scored.truth == 1, scored.predicted, 1 - scored.predicted)
    else:
        said = scored.predicted[np.arange(len(scored.truth)), scored.truth][:, None]
    floor = np.finfo(scored.predicted.dtype).eps  # as scikit-learn's
    return float(np.average(-np.log(np.clip(said, floor, 1 - floor)), axis=0, weights=scored.weight).mean())


def _roc_auc(scored: Scored) -> float:
    """Of two classes, or the mean over labels: the share of pairs in the right order, by one sort."""
    if scored.problem != "multilabel":
        return _area(scored.truth, scored.predicted[:, 1], scored.weight)
    areas = [_area(truth, said, scored.weight) for truth, said in zip(scored.truth.T, scored.predicted.T, strict=True)]
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else np.nan


def _area(truth: Array, probability: Array, weight: Array | None) -> float:
    _, place = np.unique(probability, return_inverse=True)
    weight = np.ones(len(truth)) if weight is None else weight
    positive, negative = (np.bincount(place, weight * (truth == code)) for code in (1, 0))
    pairs = positive.sum() * negative.sum()
    below = np.cumsum(negative) - negative / 2  # equal scores count half
    return float(positive @ below / pairs) if pairs > 0 else np.nan


_ALONE: dict[str, Callable[[Scored], float]] = {
    "accuracy": _accuracy,
    "log_loss": _log_loss,
    "mean_absolute_error": _mean_absolute_error,
    "mean_squared_error": _mean_squared_error,
    "root_mean_squared_error": _root_mean_squared_error,
    "roc_auc": _roc_auc,
}


def taken(scored: Scored, rows: Array) -> Scored:
    """Return some rows, by their positions."""
    weight = None if scored.weight is None else scored.weight[rows]
    return dataclasses.replace(scored, truth=scored.truth[rows], predicted=scored.predicted[rows], weight=weight)


def resampled(statistic: Callable[..., float], *paired: Scored, resamples: int, seed: int) -> Array:
    """Return a statistic of resampled rows, shape (resamples,); NaN where it is not defined.

    `paired` are predictions of the same rows: these are drawn together.
    """
    if not resamples:
        return np.zeros(0)
    rows = len(paired[0].truth)
    drawn = min(rows, _MOST_ROWS)
    random = np.random.default_rng(seed)
    draws = (random.integers(rows, size=drawn) for _ in range(resamples))
    values = np.array([statistic(*(taken(scored, draw) for scored in paired)) for draw in draws], dtype=np.float64)
    whole = statistic(*paired)
    return whole + np.sqrt(drawn / rows) * (values - whole)


def interval(values: Array, *, level: float = _LEVEL) -> Interval | None:
    """Return the interval that holds a share `level` of resampled values, shape (n,), with as many below as above.

    None comes back where too few of them are defined.
    """
    defined = values[np.isfinite(values)]
    if len(defined) <= _DEFINED * len(values):
        return None
    low, high = np.quantile(defined, ((1 - level) / 2, (1 + level) / 2))
    return Interval(float(low), float(high))
