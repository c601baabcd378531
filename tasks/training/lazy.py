"""Lazy Adam: a step moves those rows of a large embedding table that its batch holds, not a million others.

A row that a batch does not hold keeps its value and its moments, where Adam itself would go on by the momentum
(tf.contrib.opt.LazyAdamOptimizer and PyTorch's SparseAdam do the same). The state stays in Keras's own variables.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from tasks.training import noise

_ROWS = 20_000
_ROWS_OF_A_BATCH = 50
"""A table is large that has so many rows, and so many times those of a batch; below, Adam itself is as fast."""

Tables = Sequence[keras.layers.Embedding]


def tables(
    network: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    *,
    batch_size: int,
    wanted: bool | Literal["auto"],
) -> Tables:
    """Return the embeddings that are trained lazily: if auto, the large ones; none where the optimiser moves all rows.

    All rows move by weight decay, by averaged weights and the like, and by a penalty on the table.
    """
    if not wanted or not _moves_by_gradients_alone(optimizer):
        return []
    least = max(_ROWS, _ROWS_OF_A_BATCH * batch_size) if wanted == "auto" else 0
    return [layer for layer in noise.sublayers(network) if _is_plain(layer) and layer.input_dim >= least]


def _moves_by_gradients_alone(optimizer: keras.optimizers.Optimizer) -> bool:
    adam = _inner(optimizer)
    return type(adam) is keras.optimizers.Adam and not (
        adam.amsgrad or adam.weight_decay or adam.use_ema or adam.gradient_accumulation_steps
    )


def _inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return what updates the weights, where another one scales the loss."""
    return optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer


def _is_plain(layer: keras.Layer) -> bool:
    return (
        type(layer) is keras.layers.Embedding
        and layer.trainable
        and not (layer.embeddings_regularizer or layer.embeddings_constraint or layer.lora_enabled)
    )


@contextlib.contextmanager
def gathered(chosen: Tables) -> Iterator[None]:
    """Let the tables, while they are traced here, read single rows: Keras reads the table, and scattering copies it."""
    for layer in chosen:
        layer.call = functools.partial(_rows, layer)
    try:
        yield
    finally:
        for layer in chosen:
            del layer.call


def _rows(layer: keras.layers.Embedding, inputs: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.gather(layer.embeddings.value, inputs), layer.compute_dtype)


def apply(optimizer: keras.optimizers.Optimizer, gradients: Sequence[Any], chosen: Tables) -> None:
    """Update the weights by their gradients, those of the tables row by row.

    An embedding's gradient has an entry for each row of the batch, summed here by code: Keras would square each of the
    parts by itself.
    """
    lazy = {id(layer.embeddings) for layer in chosen}
    codes: dict[int, tf.Tensor] = {}
    summed, inner = [], _inner(optimizer)
    for place, (variable, gradient) in enumerate(zip(inner._trainable_variables, gradients, strict=True)):
        if isinstance(gradient, tf.IndexedSlices) and id(variable) in lazy:
            codes[place], places = tf.unique(gradient.indices)
            summed.append(tf.math.unsorted_segment_sum(gradient.values, places, tf.size(codes[place])))
        else:
            summed.append(tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient)
    with _by_rows(inner, codes):
        optimizer.apply(summed)


@contextlib.contextmanager
def _by_rows(optimizer: keras.optimizers.Optimizer, codes: Mapping[int, tf.Tensor]) -> Iterator[None]:
    """Let the optimiser, while it is traced here, update the rows of some variables, by the variable's place."""
    if not codes:
        yield
        return
    whole = optimizer.update_step

    def update_step(gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        place = optimizer._get_variable_index(variable)
        if place in codes:
            _update_rows(optimizer, gradient, variable, codes[place], learning_rate)
        else:
            whole(gradient, variable, learning_rate)

    optimizer.update_step = update_step
    try:
        yield
    finally:
        del optimizer.update_step


def _update_rows(
    adam: keras.optimizers.Adam, gradient: tf.Tensor, variable: tf.Variable, codes: tf.Tensor, learning_rate: tf.Tensor
) -> None:
    """Do Adam's update (Kingma and Ba, 2015, in the order of section 2) for some rows; codes are all different."""
    place, step = adam._get_variable_index(variable), tf.cast(adam.iterations + 1, variable.dtype)
    scale = tf.cast(learning_rate, variable.dtype) * tf.sqrt(1 - adam.beta_2**step) / (1 - adam.beta_1**step)
    means, squares = adam._momentums[place].value, adam._velocities[place].value
    mean, square = tf.gather(means, codes), tf.gather(squares, codes)
    mean += (gradient - mean) * (1 - adam.beta_1)
    square += (gradient**2 - square) * (1 - adam.beta_2)
    means.scatter_update(tf.IndexedSlices(mean, codes))
    squares.scatter_update(tf.IndexedSlices(square, codes))
    variable.scatter_sub(tf.IndexedSlices(scale * mean / (tf.sqrt(square) + adam.epsilon), codes))
