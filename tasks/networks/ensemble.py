"""The mean of several networks."""

from collections.abc import Sequence

import keras


def mean(networks: Sequence[keras.Model]) -> keras.Model:
    """Return an uncompiled network with the inputs of each, whose output is the mean of theirs, shape (n, units)."""
    inputs = {
        name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name) for name, tensor in networks[0].input.items()
    }
    for index, network in enumerate(networks, start=1):
        network.name = f"member_{index}"
    outputs = [network(inputs) for network in networks]
    return keras.Model(inputs, keras.layers.Average(name="output")(outputs), name="ensemble")
