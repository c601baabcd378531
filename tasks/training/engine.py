"""The epoch loop: data on the device once, a whole epoch in one graph call."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tasks.encoders.base import Array, Floats

_EVALUATION_ROWS = 8192


@dataclass(frozen=True)
class Examples:
    """What a network learns from or is judged by.

    `inputs` are arrays of shape (n, ...) by input name, `target` is of shape (n,) or (n, units), and `weight` of shape
    (n,), or (n, units) where each output has a weight of its own.
    """

    inputs: Mapping[str, Array]
    target: Array
    weight: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.target)


class Engine:
    """Trains a network epoch by epoch, and computes its loss on other examples.

    The order of rows and the noise of dropout come from (seed, epoch) alone, so that an epoch can be repeated.
    """

    def __init__(
        self,
        network: keras.Model,
        loss: keras.losses.Loss,
        optimizer: keras.optimizers.Optimizer,
        examples: Examples,
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        """Put the examples on the device."""
        self.network, self.optimizer = network, optimizer
        self._loss, self._batch_size, self._seed, self._rows = loss, batch_size, seed, len(examples)
        self._data = _on_device(examples)
        optimizer.build(network.trainable_variables)

    def train(self, epoch: int) -> float:
        """Train one epoch, numbered from 1; return the mean weighted loss over its batches, penalties included."""
        order = np.random.Generator(np.random.Philox(key=[self._seed, epoch])).permutation(self._rows)
        for index, generator in enumerate(_seed_generators(self.network)):
            generator.state.assign(np.random.SeedSequence([self._seed, epoch, index]).generate_state(2))
        return float(self._epoch(tf.constant(order, tf.int32)))

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def _epoch(self, order: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for start in tf.range(0, self._rows, self._batch_size):
            total += self._step(order[start : start + self._batch_size])
        return total / self._rows

    def _step(self, rows: tf.Tensor) -> tf.Tensor:
        inputs, target, weight = tf.nest.map_structure(lambda values: tf.gather(values, rows), self._data)
        variables = [variable.value for variable in self.network.trainable_variables]
        count = tf.cast(tf.shape(rows)[0], tf.float32)
        with tf.GradientTape() as tape:
            outputs = self.network(inputs, training=True)
            loss = tf.reduce_sum(_weighted(self._loss, target, outputs, weight)) / count
            loss += tf.add_n(self.network.losses) if self.network.losses else 0.0
        self.optimizer.apply(tape.gradient(loss, variables))
        return loss * count

    def loss(self, examples: Examples) -> float:
        """Return the weighted mean loss of examples, without penalties and without dropout."""
        total = 0.0
        for start in range(0, len(examples), _EVALUATION_ROWS):
            piece = slice(start, start + _EVALUATION_ROWS)
            inputs = {name: values[piece] for name, values in examples.inputs.items()}
            total += float(self._loss_sum(inputs, examples.target[piece], examples.weight[piece]))
        weight = examples.weight if examples.weight.ndim == 1 else examples.weight.mean(axis=1)
        return total / float(weight.sum(dtype=np.float64))

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def _loss_sum(self, inputs: Mapping[str, Any], target: Any, weight: Any) -> tf.Tensor:
        outputs = self.network(inputs, training=False)
        return tf.reduce_sum(_weighted(self._loss, target, outputs, weight))


def _on_device(examples: Examples) -> Any:
    return tf.nest.map_structure(tf.constant, (dict(examples.inputs), examples.target, examples.weight))


def _weighted(loss: keras.losses.Loss, target: tf.Tensor, outputs: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return the weighted loss of each row, shape (n,); weights of shape (n, units) weigh each output's own loss."""
    if weight.shape.rank == 1:
        return loss.call(target, outputs) * weight
    each = loss.call(target[..., None], outputs[..., None])  # a loss averages over the last axis, here of size 1
    return tf.reduce_mean(each * weight, axis=-1)


def _seed_generators(network: keras.Model) -> list[keras.random.SeedGenerator]:
    layers = network._flatten_layers(include_self=False, recursive=True)
    return [layer.seed_generator for layer in layers if getattr(layer, "seed_generator", None) is not None]
