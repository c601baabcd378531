"""The network of a spec, whatever its kind."""

from collections.abc import Mapping, Sequence

import keras

from schemas.networks import Custom, Mlp, Network, Residual
from tasks.encoders.base import Array
from tasks.encoders.table import Slot
from tasks.networks import custom, mlp, residual, wide_and_deep
from tasks.networks.parts import Target


def build(network: Network, slots: Sequence[Slot], target: Target, rows: Mapping[str, Array]) -> keras.Model:
    """Return an uncompiled network: one input per slot, by the slot's name; one output of shape (n, target.units).

    `rows` are the encoded training rows by input name. Raises SpecError for what Keras or the user's builder refuses.
    """
    if isinstance(network, Custom):
        return custom.build(network, slots, target, rows)
    if isinstance(network, Mlp):
        return mlp.build(network, slots, target)
    if isinstance(network, Residual):
        return residual.build(network, slots, target)
    return wide_and_deep.build(network, slots, target)
