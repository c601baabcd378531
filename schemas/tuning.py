"""The part of a spec about tuning: which settings are tried before training, how many, and how often anew."""

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, Self

from pydantic import ConfigDict, Discriminator, Field, Tag, ValidationError, WithJsonSchema, model_validator

from schemas import misfits
from schemas.document import Document
from schemas.misfits import MisfitError
from schemas.named import Metric, Optimizer
from schemas.networks import Custom, Network, Residual
from schemas.training import Training

if TYPE_CHECKING:
    from schemas.spec import Spec

Settings = dict[str, Any]
"""Values by the dotted keys of the spec, such as `training.optimizer.learning_rate`."""

Number = int | Annotated[float, Field(allow_inf_nan=False)]

_MOST_LAYERS = 100
_OPTIMIZERS = ("adam", "adamw", "nadam", "rmsprop", "sgd")
_ACTIVATIONS = ("relu", "elu", "gelu", "silu", "tanh")
_FIXED = {
    "training.loss": "it changes what the validation loss means",
    "training.class_weight": "it changes what the validation loss means",
    "training.output_weight": "it changes what the validation loss means",
    "training.early_stopping.weighted": "it changes what the validation loss means",
    "training.early_stopping.metric": "it changes which epoch is the best",
    "training.metrics": "it changes nothing that is learned",
    "network.output_activation": "it says what the target can be",
    "training.seed": "a lucky draw is no better setting",
    "training.save_format": "it changes nothing that is learned",
    "training.device": "it changes nothing that is learned",
    "training.memory_mb": "it changes nothing that is learned",
}
"""What no trial varies, and why."""


class Trial(Protocol):
    """What draws values: `optuna.trial.Trial` has these methods."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Return a number from low to high."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """Return a whole number from low to high."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""


class Range(Document):
    """Numbers from low to high, both included: whole ones if low and high are whole."""

    low: Number
    """The smallest."""
    high: Number
    """The largest."""
    log: bool = False
    """Whether all orders of magnitude are as likely as each other, as befits a learning rate."""
    step: Number | None = None
    """The distance of neighbours; by default 1 for whole numbers, and none for others."""

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"log wants low above 0, got {self.low}")
        if self.step is not None and (self.log or self.step <= 0):
            raise ValueError("step wants to be above 0, and no log beside it")
        if self._whole and isinstance(self.step, float):
            raise ValueError(f"step {self.step} is no whole number, and low and high are")
        return self

    @property
    def _whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def _last(self) -> Number:
        """The largest that can be drawn: steps may end before high."""
        return self.high if self.step is None else self.low + int((self.high - self.low) / self.step + 1e-9) * self.step

    @property
    def probes(self) -> tuple[Any, ...]:
        """Its ends: where they make a valid spec, all between them do."""
        return self.low, self.high

    def draw(self, trial: Trial, key: str) -> Any:
        """Return a value that the trial suggests under the key."""
        if self._whole:
            return trial.suggest_int(key, int(self.low), int(self._last), step=int(self.step or 1), log=self.log)
        return trial.suggest_float(key, self.low, self._last, step=self.step, log=self.log)


def _or_list(schema: dict[str, Any]) -> None:
    mapping = {key: schema.pop(key) for key in list(schema)}
    items = {key: mapping["properties"]["choices"][key] for key in ("type", "items", "minItems")}
    schema |= {"anyOf": [items, mapping], "description": mapping.pop("description")}


_KINDS = ("string", "number", "boolean", "null")
Value = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [
                *({"type": kind} for kind in _KINDS),
                {"type": "array", "items": {"type": "number"}},
                {"type": "object", "additionalProperties": True},
            ]
        }
    ),
]


class Choices(Document):
    """Values of any kind, such as names. A list alone is short for it."""

    model_config = ConfigDict(json_schema_extra=_or_list)

    choices: tuple[Value, ...] = Field(min_length=1)
    """The values."""

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: Any) -> Any:
        return {"choices": value} if isinstance(value, list | tuple) else value

    @property
    def probes(self) -> tuple[Any, ...]:
        """All of them, each of which is to make a valid spec."""
        return self.choices

    def draw(self, trial: Trial, key: str) -> Any:
        """Return a value that the trial suggests under the key: by its position, which any value has."""
        if all(isinstance(each, str | int | float | None) for each in self.choices):
            return trial.suggest_categorical(key, self.choices)
        return self.choices[trial.suggest_categorical(key, range(len(self.choices)))]


class Layers(Document):
    """A list of hidden layers: how many there are, and the units of each."""

    layers: Range | Choices
    """How many."""
    units: Range | Choices
    """Units of a layer, drawn for each by itself."""

    @property
    def probes(self) -> tuple[Any, ...]:
        """The shortest and longest lists of the smallest and largest units."""
        return tuple([units] * count for count in self.layers.probes for units in self.units.probes)

    def draw(self, trial: Trial, key: str) -> Any:
        """Return a list of units that the trial suggests under keys below this one."""
        count = self.layers.draw(trial, f"{key}.layers")
        return [self.units.draw(trial, f"{key}.units.{layer}") for layer in range(1, count + 1)]

    @model_validator(mode="after")
    def _whole_layers(self) -> Self:
        for count in self.layers.probes:
            if not isinstance(count, int) or not 0 <= count <= _MOST_LAYERS:
                raise ValueError(f"layers must be whole numbers from 0 to {_MOST_LAYERS}, got {count!r}")
        return self


def _form(value: Any) -> str:
    keys = value if isinstance(value, dict) else getattr(value, "__dict__", {})
    return (
        "choices" if isinstance(value, list | tuple) or "choices" in keys else "layers" if "layers" in keys else "range"
    )


def _any_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = schema.pop("oneOf")


Dimension = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")] | Annotated[Layers, Tag("layers")],
    Discriminator(_form),
    Field(json_schema_extra=_any_of),
]
Space = dict[str, Dimension]


class Tuning(Document):
    """Trials of other settings before training. The best on the validation rows are trained with.

    The first trial is the spec as it stands: tuning never makes worse what trials are compared by.
    """

    metric: Metric | None = None
    """What trials are compared by: a metric of the validation rows, named as in `evaluation`; null is the validation
    loss. Within a trial `training.early_stopping` says which epoch's weights are kept and when it ends; whether it is
    ended as a poor one, the loss says, whatever trials are compared by."""

    trials: int | None = Field(default=30, ge=2)
    """How many; null leaves it to minutes."""
    minutes: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """For how long. Time decides how many trials there are: the same spec and data may give other settings."""
    space: Space | None = Field(default=None, min_length=1)
    """What is varied, by key below network and training: {low, high}, a list of choices, or {layers, units} for
    network.hidden. By default optimiser, learning rate, weight decay, batch size, epochs, and the network's layers,
    units, activation and dropout."""
    when: Literal["always", "never", "drift"] | Annotated[int, Field(ge=1)] = "always"
    """When a retraining tunes anew. always: when spec or data have changed. never: uses the settings of the newest
    version of the model again. A number: after so many versions. drift: when the data has drifted from that
    which the settings were tuned on, as the spec's `drift` says. Whatever it is, tunes if no version was tuned over the
    same space around the same network and training."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How settings are chosen: tpe learns from the trials before (Bergstra et al. 2011), random does not."""
    pruner: Literal["median", "hyperband"] | None = "median"
    """How poor trials are ended early: those worse than half of the others at the same epoch, or by successive
    halving (Li et al. 2018). null trains all to their end."""
    parallel: int = Field(default=1, ge=1, le=256)
    """Trials side by side, each in a process of its own with its share of the processors. With more than 1 the same
    spec and data may give other settings."""
    seed: int = Field(default=0, ge=0)
    """Seed of the choice of settings."""

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.trials is None and self.minutes is None:
            raise ValueError("one of trials and minutes must be set, or tuning never ends")
        return self


class _Learner(Document):
    """What tuning may change."""

    network: Network
    """The network."""
    training: Training
    """How it learns."""


def settled(network: Network, training: Training, settings: Settings) -> tuple[Network, Training]:
    """Return network and training with settings in them; raises pydantic.ValidationError for those that do not fit."""
    tree = {"network": network.model_dump(mode="json"), "training": training.model_dump(mode="json")}
    for key, value in settings.items():
        tree = _assigned(tree, key.split("."), value)
    learner = _Learner.model_validate(tree)
    return learner.network, learner.training


def _assigned(tree: Any, keys: list[str], value: Any) -> dict[str, Any]:
    key, *rest = keys
    tree = tree if isinstance(tree, dict) else {}
    return {**tree, key: _assigned(tree.get(key), rest, value) if rest else value}


def value_of(network: Network, training: Training, key: str) -> Any:
    """Return what stands under a dotted key; None where nothing does, and a library's default holds."""
    found: Any = {"network": network.model_dump(mode="json"), "training": training.model_dump(mode="json")}
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def default_space(network: Network, training: Training) -> Space:
    """Return what is varied where the spec does not say it."""
    space: dict[str, Any] = {}
    if isinstance(network, Residual):
        space["network.blocks"] = Range(low=1, high=4)
        space["network.width"] = Range(low=16, high=256, log=True)
    elif not isinstance(network, Custom):
        space["network.hidden"] = Layers(layers=Range(low=1, high=4), units=Range(low=16, high=256, log=True))
    if not isinstance(network, Custom):
        space["network.activation"] = Choices(choices=_ACTIVATIONS)
        space["network.dropout"] = Range(low=0.0, high=0.5)
    space["training.optimizer.name"] = Choices(choices=tuple(_optimizers(training.optimizer)))
    if not isinstance(training.optimizer.arguments.get("learning_rate"), dict):  # a schedule is left as it is
        space["training.optimizer.learning_rate"] = Range(low=1e-4, high=3e-2, log=True)
    space["training.optimizer.weight_decay"] = Range(low=1e-6, high=1e-2, log=True)
    space["training.batch_size"] = Choices(choices=(32, 64, 128, 256, 512))
    if training.epochs > 1:
        space["training.epochs"] = Range(low=-(-training.epochs // 4), high=training.epochs)
    return space


def _optimizers(own: Optimizer) -> Iterator[str]:
    """Yield the optimisers that take the arguments which the spec gives to its own."""
    for name in dict.fromkeys((own.name, *_OPTIMIZERS)):
        try:
            yield Optimizer.model_validate({**own.arguments, "name": name}).name
        except ValidationError:
            continue


def refuse_misfits(spec: "Spec") -> None:
    """Raise MisfitError for a search space some of whose values would make no valid spec."""
    space = (spec.tuning.space if spec.tuning else None) or {}
    for key in space:
        _refuse_key(spec, key)
    first = {key: dimension.probes[0] for key, dimension in space.items()}
    for key, dimension in space.items():
        for value in dimension.probes:
            _refuse_settings(spec, {**first, key: value}, key)


def _refuse_key(spec: "Spec", key: str) -> None:
    at = ("tuning", "space", key)
    for fixed, why in _FIXED.items():
        if key == fixed or key.startswith(f"{fixed}."):
            raise MisfitError(f"tuning.space: {key} is not varied, because {why}: take it out", *at)
    part, _, inner = key.partition(".")
    known = {"network": type(spec.network), "training": Training}.get(part)
    if known is None or not inner:
        raise MisfitError(
            f"tuning.space: {key} is no key below network or training, such as training.optimizer.learning_rate", *at
        )
    name = inner.partition(".")[0]
    if name not in known.model_fields and known is not Custom:
        near = difflib.get_close_matches(name, known.model_fields, n=1)
        said = f"did you mean {part}.{near[0]}?" if near else f"{part} has {', '.join(known.model_fields)}"
        raise MisfitError(f"tuning.space: unknown key {key}; {said}", *at)


def _refuse_settings(spec: "Spec", settings: Settings, key: str) -> None:
    try:
        network, training = settled(spec.network, spec.training, settings)
        misfits.refuse(spec.model_copy(update={"network": network, "training": training, "tuning": None}))
    except ValidationError as error:
        key, said = _meant(error, settings, key), error.errors()[0]["msg"].removeprefix("Value error, ")
    except MisfitError as error:
        said = str(error)
    else:
        return
    raise MisfitError(
        f"tuning.space: {key} {settings[key]!r} makes no valid spec ({said}): change or take out what does not fit",
        *("tuning", "space", key),
    )


def _meant(error: ValidationError, settings: Settings, key: str) -> str:
    """Return the key that an error is about, by its place; the one at hand where several could be."""
    place = [part for part in error.errors()[0]["loc"] if isinstance(part, str)]
    about = [each for each in settings if each.split(".")[0] == place[0] and each.split(".")[1] in place]
    return key if key in about or not about else about[0]
