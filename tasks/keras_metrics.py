"""Keras's metrics, and the user's own, of whole predictions. Imports TensorFlow."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from schemas import fits
from schemas.named import Metric
from tasks import plugins
from tasks.encoders.base import Array
from tasks.scored import Scored

_ROWS = 65_536  # of a curve of 200 thresholds, more would take gigabytes


def compute(name: str, scored: Scored, arguments: Mapping[str, Any]) -> float | Array:
    """Return what the Keras metric of a class name says of predictions: a figure, or one for each output or label.

    Raises TypeError or ValueError for an argument of a wrong value.
    """
    kind = getattr(keras.metrics, name)
    truth, predicted = _sides(fits.form(name), scored)
    metric = kind(**{**_filled_in(name, arguments, scored), **arguments})
    weight = scored.weight
    if name in {"MeanIoU", "IoU", "BinaryIoU"} and weight is not None:  # these count each label by itself
        weight = np.broadcast_to(weight[:, None], truth.shape)
    return _value(metric, truth, predicted, weight)


def own(metric: Metric, scored: Scored) -> float | Array:
    """Return what a metric of the user's own says of predictions.

    `module:name` is a function of y_true, y_pred and, if rows have weights, sample_weight; or it makes such a function,
    or a Keras metric, from the arguments. y_true and y_pred are float32 arrays of shape (n, outputs); of classes, the
    truth is one-hot.
    """
    made = plugins.made(metric.name, metric.arguments)
    truth, predicted = _sides("pairs", scored)
    if isinstance(made, keras.metrics.Metric):
        return _value(made, truth, predicted, scored.weight)
    weight = {} if scored.weight is None else {"sample_weight": scored.weight.astype(np.float32)}
    values = np.asarray(made(truth, predicted, **weight), np.float64)
    if values.ndim and len(values) == len(truth):  # one figure a row, as a loss gives
        return float(np.average(values.reshape(len(values), -1).mean(axis=1), weights=scored.weight))
    return values


def _sides(form: fits.Forms, scored: Scored) -> tuple[Array, Array]:
    """Return truth and prediction as a metric wants them."""
    truth, predicted = scored.truth, scored.predicted
    if form == "decided":
        return _column(truth), _column(scored.decided)
    if scored.problem == "multiclass" and form != "codes":
        truth = np.eye(len(scored.names))[truth]
    elif scored.problem == "binary":
        predicted = predicted[:, 1:]
    if form == "codes":
        return truth, predicted.astype(np.float32)
    return _column(truth).astype(np.float32), predicted.astype(np.float32)


def _column(values: Array) -> Array:
    return values[:, None] if values.ndim == 1 else values


def _filled_in(name: str, arguments: Mapping[str, Any], scored: Scored) -> dict[str, Any]:
    """Return the arguments that follow from the problem."""
    classes = 2 if scored.problem == "multilabel" else len(scored.names)
    given: dict[str, Any] = {}
    if "IoU" in name:
        given["dtype"] = "float32"  # by default Keras cuts the weights to whole numbers there
        given |= {} if name == "BinaryIoU" else {"num_classes": classes}
    if name in {"F1Score", "FBetaScore"} and scored.problem != "multiclass":
        given["threshold"] = 0.5  # without one Keras takes the largest output of a row for the only true one
    if arguments.get("multi_label"):
        given["num_labels"] = len(scored.names)
    return given


def _value(metric: Any, truth: Array, predicted: Array, weight: Array | None) -> float | Array:
    for start in range(0, len(truth), _ROWS):
        rows = slice(start, start + _ROWS)
        metric.update_state(truth[rows], predicted[rows], sample_weight=None if weight is None else weight[rows])
    value = np.asarray(metric.result(), np.float64)
    return value if value.ndim else float(value)
