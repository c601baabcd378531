"""The part of a spec about the network: one class a kind."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, model_validator

from schemas import names
from schemas.data import Fraction
from schemas.document import Document
from schemas.named import Activation, Constraint, Initializer, Regularizer


class _Network(Document):
    output_activation: Literal["linear", "relu", "softplus", "sigmoid", "tanh"] | None = None
    """Regression: activation of the output, for a bounded target (then `target.scale: none`)."""


class _Dense(_Network):
    activation: Activation = "relu"
    """Activation of the hidden layers, by its Keras name."""
    dropout: Fraction = 0.0
    """Share of each hidden layer's outputs set to 0 while training."""
    normalization: Literal["none", "batch", "layer"] = "none"
    """Normalisation in each hidden layer: after its sum, in a residual block before it."""
    l1: float = Field(default=0.0, ge=0)
    """L1 penalty on the weights of the hidden layers."""
    l2: float = Field(default=0.0, ge=0)
    """L2 penalty on the weights of the hidden layers."""
    regularizer: Regularizer | None = None
    """Penalty on the weights of the hidden layers, by its Keras name, in place of l1 and l2."""
    constraint: Constraint | None = None
    """What the weights of the hidden layers are brought back to after each step, by its Keras name: a limit to the norm
    of what goes into a unit, or none below 0."""
    initializer: Initializer = Field(default_factory=lambda: Initializer(name="glorot_uniform"))
    """Initialiser of the hidden layers' weights, by its Keras name."""

    @model_validator(mode="after")
    def _one_penalty(self) -> Self:
        if self.regularizer and (self.l1 or self.l2):
            raise ValueError(
                "regularizer stands in place of l1 and l2: take those out, or write them as {name: l1_l2, l1: ..., "
                "l2: ...}"
            )
        return self


class _Layered(_Dense):
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (64, 32)
    """Units of each hidden layer; an empty list makes a linear model."""


class Mlp(_Layered):
    """A multilayer perceptron: all inputs side by side, then hidden layers."""

    kind: Literal["mlp"] = "mlp"
    """The kind of network."""


class WideAndDeep(_Layered):
    """A multilayer perceptron with a linear model of the same inputs beside it; their sums are added.

    The linear part remembers what single values mean, the deep part what their combinations do (Cheng et al. 2016, Wide
    & Deep Learning for Recommender Systems).
    """

    kind: Literal["wide_and_deep"] = "wide_and_deep"
    """The kind of network."""


class Residual(_Dense):
    """Blocks whose output is added to their input, which lets many layers train.

    The blocks are those of Gorishniy et al. 2021, Revisiting Deep Learning Models for Tabular Data.
    """

    kind: Literal["residual"] = "residual"
    """The kind of network."""
    width: int = Field(default=64, ge=1)
    """Units between the blocks."""
    blocks: int = Field(default=2, ge=1)
    """How many blocks there are."""
    expansion: float = Field(default=2.0, gt=0)
    """Units inside a block, as a multiple of the width."""
    normalization: Literal["none", "batch", "layer"] = "batch"
    """Normalisation of what goes into a block."""


class Custom(_Network):
    """A network of your own, made by a function: `{kind: custom, builder: module:function, filters: 16}`.

    The function gets the inputs by name and the keys beside `builder` as arguments. It returns a tensor of shape
    (rows, features), to which the output layer of the problem is added; or a model, `Own(inputs, tensor)`, of a class
    without arguments of its own: the whole network is then of that class. What has its own train_step or compute_loss,
    or cannot be traced as a graph, is trained by Keras's `fit`: slower, and by one network on one device in float32.
    """

    model_config = ConfigDict(extra="allow")

    kind: Literal["custom"] = "custom"
    """The kind of network."""
    builder: str = Field(pattern=names.REFERENCE)
    """The function, as module:function. The operator allows its module by EVERMODEL_ALLOW_MODULES."""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments that stand beside the builder."""
        return dict(self.model_extra or {})


def _as_mlp(value: Any) -> Any:
    return {"kind": "mlp", **value} if isinstance(value, dict) else value


Network = Annotated[Annotated[Mlp | WideAndDeep | Residual | Custom, Discriminator("kind")], BeforeValidator(_as_mlp)]
