"""Losses, optimisers, activations and initialisers by the names that Keras gives them."""

import difflib
import inspect
import re
from types import ModuleType
from typing import Any

import keras

from schemas.errors import SpecError
from schemas.spec import Named

_NO_NAMES = {"get", "serialize", "deserialize"}  # what Keras keeps beside the things themselves


def loss(named: Named) -> keras.losses.Loss:
    """Return the Keras loss of that name; raises SpecError for an unknown name or argument."""
    return _built(named, keras.losses, keras.losses.Loss, key="training.loss")


def optimizer(named: Named) -> keras.optimizers.Optimizer:
    """Return the Keras optimiser of that name; raises SpecError for an unknown name or argument."""
    return _built(named, keras.optimizers, keras.optimizers.Optimizer, key="training.optimizer")


def activation(name: str, *, key: str) -> str:
    """Return the name if Keras has an activation of that name; raises SpecError if it does not."""
    return _known(name, keras.activations, key=key)


def initializer(name: str, *, key: str) -> str:
    """Return the name if Keras has an initialiser of that name; raises SpecError if it does not."""
    return _known(name, keras.initializers, key=key)


def _known(name: str, module: ModuleType, *, key: str) -> str:
    try:
        module.get(name)
    except (TypeError, ValueError) as error:
        names = sorted(known for known in vars(module) if re.match("[a-z]", known) and known not in _NO_NAMES)
        near = difflib.get_close_matches(name.lower(), names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"Keras has {', '.join(names)}"
        raise SpecError(f"{key}: Keras has no {name!r}; {hint}") from error
    return name


def _built(named: Named, module: ModuleType, base: type, *, key: str) -> Any:
    classes = {
        _plain(name): kind
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and issubclass(kind, base) and kind is not base
    }
    plain = _plain(_alias(named.name, module))
    if plain not in classes:
        near = difflib.get_close_matches(plain, classes, n=1)
        hint = f"did you mean {classes[near[0]].__name__}?" if near else f"Keras has {', '.join(_names(classes))}"
        raise SpecError(f"{key}: Keras has no {named.name!r}; {hint}")
    try:
        return classes[plain](**named.arguments)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{key}: {classes[plain].__name__} refuses {named.arguments}: {error}") from error


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _alias(name: str, module: ModuleType) -> str:
    """Return the whole name of a short one: mean_squared_error for mse."""
    try:
        value = module.get(name.lower())
    except ValueError:
        return name
    return value.__name__ if inspect.isfunction(value) else name


def _names(classes: dict[str, type]) -> list[str]:
    return sorted({kind.__name__ for kind in classes.values()})
