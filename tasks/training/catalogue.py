"""Losses and optimisers by the names that Keras gives them."""

import difflib
import inspect
from types import ModuleType
from typing import Any

import keras

from schemas.errors import SpecError
from schemas.spec import Named


def loss(named: Named) -> keras.losses.Loss:
    """Return the Keras loss of that name; raises SpecError for an unknown name or argument."""
    return _built(named, keras.losses, keras.losses.Loss, key="training.loss")  # type: ignore[no-any-return]


def optimizer(named: Named) -> keras.optimizers.Optimizer:
    """Return the Keras optimiser of that name; raises SpecError for an unknown name or argument."""
    return _built(named, keras.optimizers, keras.optimizers.Optimizer, key="training.optimizer")  # type: ignore[no-any-return]


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
    value = getattr(module, name, None) or getattr(module, name.upper(), None)
    return value.__name__ if inspect.isfunction(value) else name


def _names(classes: dict[str, type]) -> list[str]:
    return sorted({kind.__name__ for kind in classes.values()})
