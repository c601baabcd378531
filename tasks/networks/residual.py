"""Residual blocks for tables (Gorishniy et al. 2021, section 3.2, https://arxiv.org/abs/2106.11959)."""

from collections.abc import Sequence

import keras

from schemas.networks import Residual
from tasks.encoders.table import Slot
from tasks.networks import parts


def build(network: Residual, slots: Sequence[Slot], target: parts.Target) -> keras.Model:
    """Return an uncompiled network as `mlp.build` does: a layer to the width, blocks, a last activation."""
    inputs = parts.inputs(slots)
    values = parts.dense(network, network.width, "stem", parts.features(slots, inputs))
    for index in range(1, network.blocks + 1):
        values = keras.layers.Add(name=f"block_{index}")([values, _block(network, index, values)])
    values = parts.activated(network, "activation", parts.normalized(network, "normalization", values))
    return keras.Model(inputs, parts.output(network.output_activation, target, values), name="residual")


def _block(network: Residual, index: int, values: keras.KerasTensor) -> keras.KerasTensor:
    """Return what a block adds to its input: normalisation, a wider layer, activation, dropout, back to the width."""
    inner = max(1, round(network.width * network.expansion))
    values = parts.normalized(network, f"normalization_{index}", values)
    values = parts.activated(network, f"activation_{index}", parts.dense(network, inner, f"wider_{index}", values))
    values = parts.dense(network, network.width, f"back_{index}", parts.dropped(network, f"dropout_{index}", values))
    return parts.dropped(network, f"dropout_{index}_back", values)
