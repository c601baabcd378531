"""The multilayer perceptron."""

from collections.abc import Sequence

import keras

from schemas.spec import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.training import catalogue


def build(network: Mlp, slots: Sequence[Slot], target: NumberTarget | LabelTarget | LabelsTarget) -> keras.Model:
    """Return an uncompiled network: one input per slot, by the slot's name; one output of shape (n, target.units).

    Raises SpecError for an activation or initialiser that Keras does not know.
    """
    inputs = {slot.name: _input(slot) for slot in slots}
    parts = [_flat(slot, inputs[slot.name]) for slot in slots]
    hidden = parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)
    for index, units in enumerate(network.hidden, start=1):
        hidden = _hidden_layer(network, units, index, hidden)
    activation = network.output_activation or _output_activation(target)
    output = keras.layers.Dense(target.units, activation=activation, name="output")(hidden)
    return keras.Model(inputs, output, name="mlp")


def _input(slot: Slot) -> keras.KerasTensor:
    dtype = "int32" if slot.cardinality is not None else "float32"
    return keras.Input(slot.shape, dtype=dtype, name=slot.name)


def _flat(slot: Slot, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return a slot's values as one vector a row."""
    if slot.cardinality is not None:
        return keras.layers.Embedding(slot.cardinality, slot.size, name=f"{slot.name}_vectors")(values)
    return values if len(slot.shape) == 1 else keras.layers.Flatten(name=f"{slot.name}_flat")(values)


def _hidden_layer(network: Mlp, units: int, index: int, values: keras.KerasTensor) -> keras.KerasTensor:
    regularizer = keras.regularizers.L1L2(network.l1, network.l2) if network.l1 or network.l2 else None
    values = keras.layers.Dense(
        units,
        kernel_initializer=catalogue.initializer(network.initializer, key="network.initializer"),
        kernel_regularizer=regularizer,
        use_bias=network.normalization != "batch",
        name=f"hidden_{index}",
    )(values)
    if network.normalization == "batch":
        values = keras.layers.BatchNormalization(name=f"normalization_{index}")(values)
    elif network.normalization == "layer":
        values = keras.layers.LayerNormalization(name=f"normalization_{index}")(values)
    activation = catalogue.activation(network.activation, key="network.activation")
    values = keras.layers.Activation(activation, name=f"activation_{index}")(values)
    return keras.layers.Dropout(network.dropout, name=f"dropout_{index}")(values) if network.dropout else values


def _output_activation(target: NumberTarget | LabelTarget | LabelsTarget) -> str:
    if isinstance(target, NumberTarget):
        return "linear"
    return "softmax" if isinstance(target, LabelTarget) and not target.binary else "sigmoid"
