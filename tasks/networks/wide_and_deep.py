"""A multilayer perceptron with a linear model beside it (Cheng et al. 2016, https://arxiv.org/abs/1606.07792)."""

from collections.abc import Sequence

import keras

from schemas.networks import WideAndDeep
from tasks.encoders.table import Slot
from tasks.networks import mlp, parts


def build(network: WideAndDeep, slots: Sequence[Slot], target: parts.Target) -> keras.Model:
    """Return an uncompiled network as `mlp.build` does, whose output is the sum of a wide and a deep part."""
    inputs = parts.inputs(slots)
    features = parts.features(slots, inputs)
    wide = keras.layers.Dense(target.units, use_bias=False, name="wide")(features)
    deep = keras.layers.Dense(target.units, name="deep")(mlp.hidden_layers(network, features))
    activation = network.output_activation or parts.output_activation(target)
    output = keras.layers.Activation(activation, name="output")(keras.layers.Add(name="sum")([wide, deep]))
    return keras.Model(inputs, output, name="wide_and_deep")
