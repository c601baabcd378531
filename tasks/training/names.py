"""Writes schemas/names.json from the installed Keras and scikit-learn: `python -m tasks.training.names`."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, get_args

import keras
from keras.src.utils.naming import to_snake_case

from schemas import names
from schemas.data import Problem
from schemas.names import Entry, Kind
from tasks import metrics, scores
from tasks.scored import sample

_NOT_TAKEN = {"name", "dtype", "reduction", "axis", "from_logits", "seed", "input_axes", "output_axes"}
"""What the training loop, the output layer or the spec's own seed decide."""
_FILLED_IN = {"num_classes", "num_labels", "sparse_y_true", "sparse_y_pred", "from_sorted_ids"}
"""What follows from the problem."""
_SHORT = ("mse", "mae", "mape", "msle", "bce", "kld")
"""Names under which `keras.losses.get` knows the functions of losses."""


def content() -> str:
    """Return what schemas/names.json is to hold: one entry a line."""
    parts = {
        kind: ",\n".join(json.dumps(entry.model_dump(exclude_defaults=True)) for entry in sorted(found, key=_name))
        for kind, found in _entries().items()
    }
    return "{\n" + ",\n".join(f'"{kind}": [\n{lines}\n]' for kind, lines in parts.items()) + "\n}\n"


def _name(entry: Entry) -> str:
    return entry.name


def _entries() -> Mapping[Kind, list[Entry]]:
    optimizers = _classes(keras.optimizers, keras.optimizers.Optimizer)
    schedules = _classes(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule)
    return {
        "loss": [_entry(kind, "loss") for kind in _classes(keras.losses, keras.losses.Loss)],
        "metric": [
            _entry(kind, "metric", lower_is_better=_lower_is_better(kind))
            for kind in _classes(keras.metrics, keras.metrics.Metric)
            if "y_true" in inspect.signature(kind.update_state).parameters and "fn" not in _parameters(kind)
        ],
        "figure": list(_figures()),
        "score": list(_scores()),
        "optimizer": [
            _entry(kind, "optimizer").model_copy(update={"snake": kind.__name__.lower()})
            for kind in optimizers
            if "learning_rate" in _parameters(kind)
        ],
        "schedule": [_entry(kind, "schedule") for kind in schedules],
        "activation": [
            Entry(name=name, snake=name)
            for name, value in vars(keras.activations).items()
            if inspect.isfunction(value) and name not in {"get", "serialize", "deserialize"} and _is_activation(value)
        ],
        "initializer": [
            _entry(kind, "initializer")
            for kind in _classes(keras.initializers, keras.initializers.Initializer)
            if _makes_a_kernel(kind)
        ],
        "regularizer": list(_of_weights(keras.regularizers, keras.regularizers.Regularizer, "regularizer")),
        "constraint": list(_of_weights(keras.constraints, keras.constraints.Constraint, "constraint")),
    }


def _classes(module: ModuleType, base: type) -> list[Any]:
    """Return the public classes of a module that derive from another, each once, by its shortest name."""
    found = {
        kind: name
        for name, kind in sorted(vars(module).items(), key=lambda item: (-len(item[0]), item[0]))
        if name[0].isupper() and inspect.isclass(kind) and issubclass(kind, base) and kind is not base
    }
    return list(found)


def _of_weights(module: ModuleType, base: type, of: Kind) -> Iterator[Entry]:
    """Yield what a module has for weights, each with the module's own name for it in snake case, such as l1_l2."""
    for kind in _classes(module, base):
        snake = next(name for name, value in vars(module).items() if value is kind and name.islower())
        yield _entry(kind, of).model_copy(update={"snake": snake})


def _parameters(made: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(made).parameters


def _entry(kind: type, of: Kind, **more: Any) -> Entry:
    taken = [
        each
        for each in _parameters(kind).values()
        if each.name not in _NOT_TAKEN | _FILLED_IN and each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    public = getattr(keras.initializers, kind.__name__.removesuffix("Initializer"), None)
    name = kind.__name__.removesuffix("Initializer") if public is kind else kind.__name__
    return Entry(
        name=name,
        snake=to_snake_case(name),
        aliases=tuple(short for short in _SHORT if of in {"loss", "metric"} and _whole(short) == to_snake_case(name)),
        arguments={each.name: each.default for each in taken if each.default is not each.empty},
        required=tuple(each.name for each in taken if each.default is each.empty),
        **more,
    )


def _whole(short: str) -> str:
    return str(keras.losses.get(short).__name__)


def _lower_is_better(kind: type) -> bool | None:
    required: dict[str, Any] = {each.name: 0.5 for each in _parameters(kind).values() if each.default is each.empty}
    required |= {"num_classes": 2, "target_class_ids": [0]}
    made = kind(**{name: value for name, value in required.items() if name in _parameters(kind)})
    direction = getattr(made, "_direction", None)
    if direction is None:  # counts: how many were true, how many false
        return kind.__name__.startswith("False")
    return bool(direction == "down")


def _is_activation(function: Callable[..., Any]) -> bool:
    """Say whether a hidden layer can take it: it keeps the shape."""
    try:
        return bool(tuple(function(keras.ops.ones((2, 4))).shape) == (2, 4))
    except (TypeError, ValueError):
        return False


def _makes_a_kernel(kind: Any) -> bool:
    try:
        return tuple(kind()((4, 3)).shape) == (4, 3)
    except (TypeError, ValueError):
        return False


def _scores() -> Iterator[Entry]:
    """Yield scikit-learn's scores and Evermodel's own, with the problems whose predictions they take."""
    for name in scores.names():
        if problems := tuple(problem for problem in get_args(Problem) if scores.takes(name, problem)):
            taken = [each for each in _parameters(scores.function(name)).values() if each.name not in scores.FIXED]
            yield Entry(
                name=name,
                snake=name,
                aliases=(name.removesuffix("_score"),) if name.endswith("_score") else (),
                arguments={each.name: each.default for each in taken if each.default is not each.empty},
                required=tuple(each.name for each in taken if each.default is each.empty),
                lower_is_better=scores.lower_is_better(name),
                problems=problems,
            )


def _figures() -> Iterator[Entry]:
    """Yield what is computed of every run, with the problems for which it is."""
    found = {problem: metrics.compute(sample(problem)) for problem in get_args(Problem)}
    for name in dict.fromkeys(name for values in found.values() for name in values if "[" not in name):
        problems = tuple(problem for problem, values in found.items() if name in values)
        lower = name in metrics.LOWER_IS_BETTER
        yield Entry(name=name, snake=name, lower_is_better=lower, problems=problems)


if __name__ == "__main__":
    names.FILE.write_text(content(), encoding="utf-8")
