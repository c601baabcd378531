"""What networks are made of: inputs, one vector of all features, hidden layers, the problem's output."""

from collections.abc import Mapping, Sequence

import keras

from schemas.networks import Mlp, Residual, WideAndDeep
from tasks.encoders.table import Slot
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.training import catalogue

Target = NumberTarget | LabelTarget | LabelsTarget
Dense = Mlp | WideAndDeep | Residual


def inputs(slots: Sequence[Slot]) -> dict[str, keras.KerasTensor]:
    """Return one input per slot, by the slot's name."""
    return {slot.name: _input(slot) for slot in slots}


def _input(slot: Slot) -> keras.KerasTensor:
    dtype = "int32" if slot.cardinality is not None else "float32"
    return keras.Input(slot.shape, dtype=dtype, name=slot.name)


def features(slots: Sequence[Slot], given: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Return all inputs side by side, of shape (n, features)."""
    parts = [_flat(slot, vectors(slot, given[slot.name])) for slot in slots]
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features")(parts)


def vectors(slot: Slot, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return a slot's values as numbers: codes as the vectors that are learned for them."""
    if slot.cardinality is None:
        return values
    return keras.layers.Embedding(slot.cardinality, slot.size, name=f"{slot.name}_vectors")(values)


def _flat(slot: Slot, values: keras.KerasTensor) -> keras.KerasTensor:
    return values if len(values.shape) == 2 else keras.layers.Flatten(name=f"{slot.name}_flat")(values)


def dense(network: Dense, units: int, name: str, values: keras.KerasTensor, *, bias: bool = True) -> keras.KerasTensor:
    """Return the sums of a hidden layer, with the network's initialiser, penalty and constraint."""
    return keras.layers.Dense(
        units,
        kernel_initializer=catalogue.initializer(network.initializer, key="network.initializer"),
        kernel_regularizer=_penalty(network),
        kernel_constraint=network.constraint and catalogue.constraint(network.constraint, key="network.constraint"),
        use_bias=bias,
        name=name,
    )(values)


def _penalty(network: Dense) -> keras.regularizers.Regularizer | None:
    if network.regularizer is not None:
        return catalogue.regularizer(network.regularizer, key="network.regularizer")
    return keras.regularizers.L1L2(network.l1, network.l2) if network.l1 or network.l2 else None


def normalized(network: Dense, name: str, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return values after the network's normalisation."""
    if network.normalization == "none":
        return values
    layers = {"batch": keras.layers.BatchNormalization, "layer": keras.layers.LayerNormalization}
    return layers[network.normalization](name=name)(values)


def activated(network: Dense, name: str, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return values after the network's activation."""
    activation = catalogue.activation(network.activation, key="network.activation")
    return keras.layers.Activation(activation, name=name)(values)


def dropped(network: Dense, name: str, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return values after the network's dropout."""
    return keras.layers.Dropout(network.dropout, name=name)(values) if network.dropout else values


def output(network_activation: str | None, target: Target, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return the output of the problem, of shape (n, target.units)."""
    activation = network_activation or output_activation(target)
    return keras.layers.Dense(target.units, activation=activation, name="output")(values)


def output_activation(target: Target) -> str:
    """Return the activation of the output that belongs to a target."""
    if isinstance(target, NumberTarget):
        return "linear"
    return "softmax" if isinstance(target, LabelTarget) and not target.binary else "sigmoid"
