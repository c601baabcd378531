"""What a network is made of, as far as advice and the report need it."""

import contextlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Layer:
    """One layer."""

    name: str
    kind: str
    """Its class."""
    shape: tuple[int, ...] | None
    """Shape of what it gives for one row; None where it is used more than once."""
    parameters: int


@dataclass(frozen=True)
class Network:
    """The layers of a network, inputs first."""

    layers: tuple[Layer, ...] = ()
    dropout: float = 0.0
    """The largest dropout rate."""
    hidden: tuple[int, ...] = ()
    """Units of the dense layers but the last."""

    @classmethod
    def of(cls, network: "keras.Model") -> "Network":
        """Return what a Keras model is made of; an ensemble's dropout and hidden layers are those of a member."""
        member = next((layer for layer in network.layers if hasattr(layer, "layers")), network)
        dense = [layer.units for layer in member.layers if type(layer).__name__ == "Dense"]
        rates = [float(layer.rate) for layer in member.layers if "Dropout" in type(layer).__name__]
        layers = (Layer(each.name, type(each).__name__, _shape(each), each.count_params()) for each in network.layers)
        return cls(layers=tuple(layers), dropout=max(rates, default=0.0), hidden=tuple(dense[:-1]))


def _shape(layer: "keras.Layer") -> tuple[int, ...] | None:
    with contextlib.suppress(AttributeError, ValueError):
        return tuple(size for size in layer.output.shape[1:] if size is not None)
    return None


def larger(hidden: tuple[int, ...]) -> list[int]:
    """Return hidden layers of twice the units; one of 32 for none."""
    return [2 * units for units in hidden] or [32]


def smaller(hidden: tuple[int, ...]) -> list[int]:
    """Return hidden layers of half the units, at least one each."""
    return [math.ceil(units / 2) for units in hidden]
