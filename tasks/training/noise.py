"""Dropout by a hash of position and step: XLA on a CPU takes some 20 ns for a number of TensorFlow's own generator."""

import contextlib
import functools
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tasks.encoders.base import Array


@contextlib.contextmanager
def hashed(network: keras.Model) -> Iterator[None]:
    """Let the network's Dropout layers, while they are traced here, draw their noise by a hash."""
    layers = hashable(network)
    for layer in layers:
        layer.call = functools.partial(_dropout, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.call


def hashable(network: keras.Model) -> list[keras.layers.Dropout]:
    """Return the layers whose noise can be drawn so."""
    return [layer for layer in sublayers(network) if type(layer) is keras.layers.Dropout and not layer.noise_shape]


def sublayers(network: keras.Model) -> list[keras.Layer]:
    """Return all layers of a network, those within layers too."""
    return list(network._flatten_layers(include_self=False, recursive=True))


def seed_generators(network: keras.Model) -> list[keras.random.SeedGenerator]:
    """Return what a network's layers draw their noise from."""
    generators = (getattr(layer, "seed_generator", None) for layer in sublayers(network))
    return [generator for generator in generators if generator is not None]


def state(seed: int, epoch: int, index: int) -> Array:
    """Return the state, shape (2,), of a network's generator, by its place among them, at the beginning of an epoch."""
    return np.random.SeedSequence([seed, epoch, index]).generate_state(2)


def _dropout(layer: keras.layers.Dropout, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
    if not training or not layer.rate:
        return inputs
    seed = tf.cast(layer.seed_generator.next(), tf.uint32)
    positions = tf.reshape(tf.range(tf.size(inputs)) + _first_position(inputs), tf.shape(inputs))
    bits = _mixed(_mixed(tf.cast(positions, tf.uint32) + seed[1] * tf.constant(0x9E3779B9, tf.uint32)) ^ seed[0])
    kept = bits >= tf.constant(min(int(layer.rate * 2**32), 2**32 - 1), tf.uint32)
    return tf.where(kept, inputs / tf.cast(1 - layer.rate, inputs.dtype), tf.zeros((), inputs.dtype))


def _first_position(inputs: tf.Tensor) -> tf.Tensor | int:
    """Return where the positions of this device's share begin: no two devices draw the same noise in a step."""
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return 0
    return tf.distribute.get_replica_context().replica_id_in_sync_group * tf.size(inputs)


def _mixed(bits: tf.Tensor) -> tf.Tensor:
    """Return 32 bits each of which depends on all that came in (lowbias32, https://github.com/skeeto/hash-prospector)."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0xD35A2D97)):
        bits = (bits ^ tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint32))) * tf.constant(factor, tf.uint32)
    return bits ^ tf.bitwise.right_shift(bits, tf.constant(15, tf.uint32))
