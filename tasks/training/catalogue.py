"""Losses, optimisers, schedules, initialisers and the like, made by Keras from the names and arguments of the spec."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras

from schemas import fits, names
from schemas.errors import SpecError
from schemas.named import Named
from schemas.names import Kind
from tasks.training.custom import OwnLoss

_ROW_BY_ROW = {"Dice": {"axis": -1}, "Tversky": {"axis": -1}}
"""Losses that Keras takes over a whole batch by default, where rows could have no weights."""


def loss(named: Named) -> keras.losses.Loss:
    """Return the loss of that name; raises SpecError for an unknown name or argument.

    `call` of what is returned gives one loss a row.
    """
    if names.is_reference(named.name):
        return OwnLoss(named.name, named.arguments)
    return _built(named, "loss", keras.losses, key="training.loss")


def refuse_misfit(loss: keras.losses.Loss, said: fits.Said) -> None:
    """Raise SpecError, with the losses that fit, for a Keras loss that has no meaning for what a network says."""
    if not isinstance(loss, OwnLoss):
        _told("training.loss", lambda: fits.refuse_loss(type(loss).__name__, said))


def looks_at_all_outputs(loss: keras.losses.Loss) -> bool:
    """Say whether a loss is one of all outputs of a row, so that single outputs can have no weight in it."""
    return isinstance(loss, OwnLoss) or fits.looks_at_all_outputs(type(loss).__name__)


def wants_codes(loss: keras.losses.Loss) -> bool:
    """Say whether a loss of several classes compares with their codes, and not with one-hot rows."""
    return not isinstance(loss, OwnLoss) and fits.compares_codes(type(loss).__name__)


def optimizer(named: Named) -> keras.optimizers.Optimizer:
    """Return the Keras optimiser of that name; raises SpecError for an unknown name or argument."""
    arguments = named.arguments
    if isinstance(arguments.get("learning_rate"), dict):
        schedule = Named.model_validate(arguments["learning_rate"])
        built = _built(schedule, "schedule", keras.optimizers.schedules, key="training.optimizer.learning_rate")
        named = Named(name=named.name, **{**arguments, "learning_rate": built})
    return _built(named, "optimizer", keras.optimizers, key="training.optimizer")


def activation(name: str, *, key: str) -> str:
    """Return the name by which Keras knows an activation; raises SpecError if it does not."""
    return str(_told(key, lambda: names.find(name, "activation")).name)


def initializer(named: Named, *, key: str) -> keras.initializers.Initializer:
    """Return the Keras initialiser of that name; raises SpecError for an unknown name or argument."""
    return _built(named, "initializer", keras.initializers, key=key)


def regularizer(named: Named, *, key: str) -> keras.regularizers.Regularizer:
    """Return the Keras regularizer of that name; raises SpecError for an unknown name or argument."""
    return _built(named, "regularizer", keras.regularizers, key=key)


def constraint(named: Named, *, key: str) -> keras.constraints.Constraint:
    """Return the Keras constraint of that name; raises SpecError for an unknown name or argument."""
    return _built(named, "constraint", keras.constraints, key=key)


def _built(named: Named, kind: Kind, module: ModuleType, *, key: str) -> Any:
    entry = _told(key, lambda: names.find(named.name, kind))
    made = getattr(module, entry.name)
    given = {name: _as_default(value, entry.arguments.get(name)) for name, value in named.arguments.items()}
    try:
        return made(**_ROW_BY_ROW.get(entry.name, {}), **given)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{key}: {entry.name} refuses {named.arguments}: {error}") from error


def _as_default(value: Any, default: Any) -> Any:
    """Return a whole number as a float where the default is one: `learning_rate: 1` is no float to Keras."""
    return float(value) if isinstance(default, float) and isinstance(value, int) else value


def _told(key: str, look: Callable[[], Any]) -> Any:
    """Return what a look-up finds; raises SpecError that names the key for the ValueError of one that finds nothing."""
    try:
        return look()
    except ValueError as error:
        raise SpecError(f"{key}: {error}") from error
