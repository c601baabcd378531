"""What Keras and scikit-learn know by name: losses, metrics, optimisers, activations, initialisers and the like."""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, model_validator

from schemas import names
from schemas.document import Document, or_text
from schemas.names import Kind


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _offering(*kinds: Kind, own: bool = False) -> Callable[[dict[str, Any]], None]:
    """Return what lets the JSON Schema of something named offer the names that there are."""

    def change(schema: dict[str, Any]) -> None:
        offered = dict.fromkeys(name for kind in kinds for entry in names.entries(kind) for name in entry.names)
        texts: list[dict[str, Any]] = [{"type": "string", "enum": list(offered)}]
        texts += [{"type": "string", "pattern": names.REFERENCE}] if own else []
        mapping = {key: schema.pop(key) for key in list(schema)}
        described = {"description": mapping["properties"]["name"]["description"]}
        mapping["properties"]["name"] = {"anyOf": texts, **described} if len(texts) > 1 else texts[0] | described
        schema |= {"anyOf": [*texts, mapping], "description": mapping.pop("description")}

    return change


class Named(Document):
    """Something that is known by name, with its own arguments beside the name: `{name: adam, beta_1: 0.8}`.

    A text alone is the name.
    """

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True, json_schema_extra=or_text)

    name: str
    """The name."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return value.model_dump() if isinstance(value, Named) else _named(value)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that stand beside the name."""
        return dict(self.model_extra or {})


class Loss(Named):
    """A Keras loss with its arguments: `huber`, or `{name: huber, delta: 2}`. A text alone is the name.

    module:name is one of your own: a function of y_true and y_pred that returns a loss for each row, or a function that
    makes one from the arguments.
    """

    model_config = ConfigDict(json_schema_extra=_offering("loss", own=True))

    name: str
    """The Keras class name, its snake-case or its short form; or module:name."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if not names.is_reference(self.name):
            names.refuse_arguments(names.find(self.name, "loss"), self.arguments)
        return self


class Optimizer(Named):
    """A Keras optimiser with its arguments: `adam`, or `{name: adam, learning_rate: 0.01}`. A text alone is the name.

    learning_rate is a number or a schedule: `{name: cosine_decay, initial_learning_rate: 0.01, decay_steps: 1000}`.
    """

    model_config = ConfigDict(json_schema_extra=_offering("optimizer"))

    name: str
    """The Keras class name, in any case."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        names.refuse_arguments(names.find(self.name, "optimizer"), self.arguments)
        if isinstance(schedule := self.arguments.get("learning_rate"), dict):
            named = Named.model_validate(schedule)
            names.refuse_arguments(names.find(named.name, "schedule"), named.arguments)
        return self


class _KerasObject(Named):
    """Something of a catalogue of Keras's that needs no more than a look there."""

    catalogue: ClassVar[Kind]

    name: str
    """The Keras class name or its snake-case form."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        names.refuse_arguments(names.find(self.name, self.catalogue), self.arguments)
        return self


class _Limit(_KerasObject):
    @model_validator(mode="after")
    def _not_negative(self) -> Self:
        """Refuse, where Keras would take it, a strength or a norm below 0."""
        for name, value in self.arguments.items():
            if not isinstance(value, str) and not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise ValueError(f"{self.name} wants a number of 0 or more for {name}, got {value!r}")
        return self


class Initializer(_KerasObject):
    """A Keras initialiser with its arguments: `he_normal`, or `{name: truncated_normal, stddev: 0.1}`.

    A text alone is the name.
    """

    catalogue = "initializer"
    model_config = ConfigDict(json_schema_extra=_offering("initializer"))


class Regularizer(_Limit):
    """A Keras regularizer with its arguments: `l1_l2`, or `{name: orthogonal_regularizer, factor: 0.01}`.

    A text alone is the name.
    """

    catalogue = "regularizer"
    model_config = ConfigDict(json_schema_extra=_offering("regularizer"))


class Constraint(_Limit):
    """A Keras constraint with its arguments: `non_neg`, or `{name: max_norm, max_value: 2}`.

    A text alone is the name.
    """

    catalogue = "constraint"
    model_config = ConfigDict(json_schema_extra=_offering("constraint"))


class Metric(Named):
    """A metric with its arguments: `matthews_corrcoef`, or `{name: top_k_categorical_accuracy, k: 2}`.

    A text alone is the name. module:name is one of your own: a function of y_true and y_pred, or a function that makes
    one, or a Keras metric, from the arguments. Lower is better for one whose name ends with _error, _loss or _deviance.
    """

    model_config = ConfigDict(json_schema_extra=_offering("figure", "metric", "score", own=True))

    name: str
    """What a report calls it, a Keras class name or its snake-case form, or the name of a scikit-learn function, with
    or without _score; or module:name."""


def _activation(name: str) -> str:
    names.find(name, "activation")
    return name


class _Activations:
    """Gives the JSON Schema of a text the names that it may be, when the schema is asked for."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "enum": [entry.name for entry in names.entries("activation")]}


Activation = Annotated[str, AfterValidator(_activation), _Activations()]
