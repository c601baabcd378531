"""Networks that a function of the user's own builds."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from schemas.errors import SpecError
from schemas.networks import Custom
from tasks import plugins
from tasks.encoders.base import Array
from tasks.encoders.table import NUMBERS, Slot
from tasks.networks import parts

_STEPS = ("train_step", "compute_loss")


def build(network: Custom, slots: Sequence[Slot], target: parts.Target, rows: Mapping[str, Array]) -> keras.Model:
    """Return an uncompiled network as `mlp.build` does, with what the user's function makes between input and output.

    The function is called with the inputs by name: `numbers` holds all plain numbers side by side, an embedding column
    has the name of its column and is the learned vector, and so has a tensor column. A parameter `rows`, if there is
    one, gets the encoded training rows under the same names, shape (n, ...): for what learns from them beforehand.
    Raises SpecError when the function is not allowed, fails, or returns something else than (rows, features), and for a
    model within that would train in its own way.
    """
    inputs = parts.inputs(slots)
    named = {_name(slot): parts.vectors(slot, inputs[slot.name]) for slot in slots}
    if len(named) < len(slots):
        raise SpecError(
            f"network.builder: a column is called {NUMBERS!r}, as all plain numbers together are: rename it"
        )
    builder = function(network)
    given = {"rows": {_name(slot): rows[slot.name] for slot in slots}} if _learns(builder) else {}
    try:
        values = builder(named, **network.arguments, **given)
        if not isinstance(values, keras.KerasTensor) or len(values.shape) != 2:
            raise TypeError(f"a tensor of shape (rows, features) is wanted, got {values}")
        built = keras.Model(inputs, parts.output(network.output_activation, target, values), name="custom")
    except Exception as error:  # whatever the function does
        raise SpecError(f"network.builder {network.builder} fails: {type(error).__name__}: {error}") from error
    _refuse_own_steps(network, built)
    return built


def _refuse_own_steps(network: Custom, built: keras.Model) -> None:
    for layer in built._flatten_layers(include_self=False, recursive=True):
        own = [name for name in _STEPS if getattr(type(layer), name, None) not in (None, getattr(keras.Model, name))]
        if isinstance(layer, keras.Model) and own:
            raise SpecError(
                f"network.builder {network.builder}: {type(layer).__name__} has its own {' and '.join(own)}, which "
                "training here never calls: take it out, and put the loss into training.loss, penalties into add_loss"
            )


def function(network: Custom) -> Callable[..., Any]:
    """Return the user's function; raises SpecError when it is not allowed, does not load or refuses the arguments."""
    found: Callable[..., Any] = plugins.load(network.builder)
    try:
        inspect.signature(found).bind({}, **network.arguments, **({"rows": {}} if _learns(found) else {}))
    except TypeError as error:
        raise SpecError(f"network.builder {network.builder} refuses {network.arguments}: {error}") from error
    return found


def _learns(function: Callable[..., Any]) -> bool:
    return "rows" in inspect.signature(function).parameters


def _name(slot: Slot) -> str:
    return NUMBERS if slot.name == NUMBERS else slot.columns[0]
