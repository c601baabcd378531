"""Losses and a metric of one's own, as a spec names them: `{name: examples.losses:threshold_huber, threshold: 2}`."""

from collections.abc import Callable

import keras
import numpy as np
from keras import KerasTensor, ops

Loss = Callable[[KerasTensor, KerasTensor], KerasTensor]


def absolute(y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
    """Return the absolute error of each output: a function that is the loss itself."""
    return ops.abs(y_true - y_pred)


def threshold_huber(threshold: float = 1.0) -> Loss:
    """Return the Huber loss that turns from square to linear at a threshold (Huber 1964)."""

    def huber(y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        error = ops.abs(y_true - y_pred)
        return ops.where(error < threshold, ops.square(error) / 2, threshold * error - threshold**2 / 2)

    return huber


def quantile(level: float = 0.5) -> Loss:
    """Return the pinball loss, with which a network predicts a quantile (Koenker and Bassett 1978)."""

    def pinball(y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        error = y_true - y_pred
        return ops.mean(ops.maximum(level * error, (level - 1) * error), axis=-1)

    return pinball


def focal(gamma: float = 2.0, alpha: float = 0.25) -> Loss:
    """Return the focal loss of two classes, which looks past easy rows (Lin et al. 2017)."""

    def focal_loss(y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        chance = ops.clip(ops.where(y_true > 0.5, y_pred, 1 - y_pred), keras.config.epsilon(), 1.0)
        balance = ops.where(y_true > 0.5, alpha, 1 - alpha)
        return ops.mean(-balance * ops.power(1 - chance, gamma) * ops.log(chance), axis=-1)

    return focal_loss


def share_within(tolerance: float = 0.1) -> Callable[..., float]:
    """Return a metric: the share of rows that are predicted within a tolerance, in the target's own units."""

    def share(y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        hits = (np.abs(y_true - y_pred) <= tolerance).all(axis=-1)
        return float(np.average(hits, weights=sample_weight))

    return share
