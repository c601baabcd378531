"""The multilayer perceptron."""

from collections.abc import Sequence

import keras

from schemas.networks import Mlp, WideAndDeep
from tasks.encoders.table import Slot
from tasks.networks import parts


def build(network: Mlp, slots: Sequence[Slot], target: parts.Target) -> keras.Model:
    """Return an uncompiled network: one input per slot, by the slot's name; one output of shape (n, target.units).

    Raises SpecError for an initialiser that Keras refuses.
    """
    inputs = parts.inputs(slots)
    hidden = hidden_layers(network, parts.features(slots, inputs))
    return keras.Model(inputs, parts.output(network.output_activation, target, hidden), name="mlp")


def hidden_layers(network: Mlp | WideAndDeep, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return what the hidden layers make of values: each a sum, a normalisation, an activation and a dropout."""
    for index, units in enumerate(network.hidden, start=1):
        values = parts.dense(network, units, f"hidden_{index}", values, bias=network.normalization != "batch")
        values = parts.normalized(network, f"normalization_{index}", values)
        values = parts.activated(network, f"activation_{index}", values)
        values = parts.dropped(network, f"dropout_{index}", values)
    return values
