"""Networks that a function of the user's own builds."""

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from schemas.errors import SpecError
from schemas.networks import Custom
from tasks import plugins
from tasks.encoders.base import Array
from tasks.encoders.table import NUMBERS, Slot
from tasks.networks import parts


def build(network: Custom, slots: Sequence[Slot], target: parts.Target, rows: Mapping[str, Array]) -> keras.Model:
    """Return an uncompiled network as `mlp.build` does, with what the user's function makes between input and output.

    The function is called with the inputs by name: `numbers` holds all plain numbers side by side, an embedding column
    has the name of its column and is the learned vector, and so has a tensor column. A parameter `rows`, if there is
    one, gets the encoded training rows under the same names, shape (n, ...): for what learns from them beforehand.
    When it returns a model of these inputs, the network is one of the same class, so that its own train_step trains it.
    Raises SpecError when the function is not allowed, fails, or returns something else than (rows, features).
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
        with warnings.catch_warnings():  # a model's inputs need not be called as the columns are
            warnings.filterwarnings("ignore", "When providing `inputs` as a dict")
            made = builder(named, **network.arguments, **given)
        values = _features(made, named)
        output = parts.output(network.output_activation, target, values)
        built = (type(made) if isinstance(made, keras.Model) else keras.Model)(inputs, output, name="custom")
        built.run_eagerly = getattr(made, "run_eagerly", False)
    except Exception as error:  # whatever the function does
        raise SpecError(f"network.builder {network.builder} fails: {type(error).__name__}: {error}") from error
    _refuse_unregistered(network, built)
    return built


def _refuse_unregistered(network: Custom, built: keras.Model) -> None:
    """Refuse classes of the user's own that a saved network would not be made of again."""
    for layer in built._flatten_layers(recursive=True):
        kind = type(layer)
        if not kind.__module__.startswith("keras.") and keras.saving.get_registered_name(kind) == kind.__name__:
            raise SpecError(
                f"network.builder {network.builder}: a saved network finds {kind.__name__} again only by its name; put "
                '@keras.saving.register_keras_serializable(package="...") above the class'
            )


def _features(made: Any, named: Mapping[str, keras.KerasTensor]) -> keras.KerasTensor:
    """Return the tensor that a function made of its inputs, or that its model says of them."""
    values = _said(made, named) if isinstance(made, keras.Model) else made
    if not isinstance(values, keras.KerasTensor) or len(values.shape) != 2:
        raise TypeError(f"a tensor of shape (rows, features) is wanted, or a model of such an output; got {values}")
    return values


def _said(model: keras.Model, named: Mapping[str, keras.KerasTensor]) -> Any:
    """Return a model's output. Keras makes new inputs for a model of what are none, as vectors of categories are."""
    inputs = getattr(model, "_inputs_struct", None)
    if inputs is None:
        raise TypeError(
            f"{type(model).__name__} is a model of no inputs: return {type(model).__name__}(inputs, tensor)"
        )
    if all(any(each is known for known in named.values()) for each in model.inputs):
        return model.output
    if not isinstance(inputs, dict) or inputs.keys() != named.keys():
        raise TypeError(f"a model of all inputs is wanted: return {type(model).__name__}(inputs, tensor)")
    return model.call(named)


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
