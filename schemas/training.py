"""The part of a spec about training: how the network learns, and what each row counts."""

import operator
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from schemas import names
from schemas.document import Document, or_text
from schemas.named import Loss, Metric, Optimizer, _named


def _or_its_name(schema: dict[str, Any]) -> None:
    or_text(schema)
    schema["anyOf"][0]["const"] = "effective_number"


class EffectiveNumber(Document):
    """Weighs a class of n rows by (1 - beta) / (1 - beta^n), scaled to a mean of 1 over the classes.

    That lies between no weights (beta 0) and balanced (beta towards 1): many rows of one class say less and less that
    is new (Cui et al., 2019).
    """

    model_config = ConfigDict(json_schema_extra=_or_its_name)

    name: Literal["effective_number"]
    """effective_number; that text alone takes the default."""
    beta: float = Field(default=0.999, ge=0, lt=1)
    """About 1 - 1/N, where N is the number of rows from which on more of a class tell nothing new."""


def _class_weight_form(value: Any) -> str:
    if isinstance(value, EffectiveNumber) or value == "effective_number":
        return "effective_number"
    if isinstance(value, dict):
        return "effective_number" if isinstance(value.get("name"), str) else "by_label"
    return "word"


def _known_word(value: Any) -> Any:
    if value != "balanced":
        raise ValueError("balanced, effective_number or a mapping of label to weight is wanted")
    return value


def _any_of(schema: dict[str, Any]) -> None:
    schema["anyOf"] = schema.pop("oneOf")


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
ClassWeight = Annotated[
    Annotated[Literal["balanced"], BeforeValidator(_known_word), Tag("word")]
    | Annotated[EffectiveNumber, BeforeValidator(_named), Tag("effective_number")]
    | Annotated[dict[str, Weight], Tag("by_label")],
    Discriminator(_class_weight_form),
    Field(json_schema_extra=_any_of),
]


def _is_none(value: Any) -> bool:
    return value is None


class EarlyStopping(Document):
    """Stops when the validation loss, or a metric, no longer gets better, and goes back to the best epoch's weights."""

    metric: Metric | None = Field(default=None, exclude_if=_is_none)
    """What says which epoch is the best: a metric of the validation rows, named as in `metrics`; null is the validation
    loss. An epoch in which it has no value is no better than others."""
    patience: int = Field(default=20, ge=1)
    """How many epochs that are no better are allowed."""
    min_delta: float = Field(default=0.0, ge=0)
    """How much better an epoch must be to count so, in units of the loss or of the metric."""
    weighted: bool = True
    """Whether validation rows count in the loss by their class and sample weights, as training rows do; otherwise all
    the same. In a metric they count by their own weights."""


class Gpus(Document):
    """Several GPUs of one machine: each has a copy of the network and takes its share of every batch."""

    gpus: int = Field(ge=1)
    """How many."""


_LOOKS_AT_WHOLE_VARIABLES = {"Adafactor", "Lamb", "Muon"}
"""Optimisers whose update of a weight depends on the shape or the norm of its variable."""

_MOVES_ALL_ROWS = ("amsgrad", "weight_decay", "use_ema", "gradient_accumulation_steps")
"""Arguments of Adam by which a row moves, or is kept, whose gradient is zero."""

Device = Literal["auto", "cpu", "gpu"] | Gpus


class Training(Document):
    """How the network learns."""

    epochs: int = Field(default=200, ge=1)
    """How often the training rows are gone through, at most."""
    batch_size: int = Field(default=64, ge=1)
    """Rows per update of the weights."""
    optimizer: Optimizer = Field(default_factory=lambda: Optimizer(name="adam"))
    """The Keras optimiser, with its arguments. With use_ema the moving averages of the weights are validated, judged
    and published, while training goes on from the weights themselves."""
    loss: Loss | None = None
    """The loss, with its arguments. By default mean_squared_error for numbers, binary_crossentropy for two classes and
    labels, and for several classes sparse_categorical_crossentropy, or categorical_crossentropy for one-hot columns."""
    save_format: Literal["keras", "h5"] = "keras"
    """How the network is saved, with its optimiser's state: Keras's own format, or HDF5 for older programs."""
    early_stopping: EarlyStopping | None = Field(default_factory=EarlyStopping)
    """When to stop; null trains for all epochs and keeps the best one's weights."""
    metrics: tuple[Metric, ...] = Field(default=(), exclude_if=operator.not_)
    """Metrics of the validation rows after each epoch, named as in `evaluation`, in the target's own units and by the
    rows' own weights: for the log, `history.json`, the report and MLflow (`epoch_validation_NAME`)."""
    class_weight: ClassWeight | None = None
    """balanced: a class counts as much as any other, however rare in the training split. effective_number: less so.
    Or a weight by label, 1 for those not named. Multilabel: each label's positives against its negatives; a number
    weighs that label's positives. The rows' own weights (`data.weight`) multiply with it."""
    output_weight: dict[str, Weight] | None = None
    """Multi-output regression: how much each target's loss counts, by its column; 1 for those not named."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first weights, of the order of rows and of dropout."""
    members: int = Field(default=1, ge=1, le=100)
    """How many networks are trained at once, from seed on each with a seed of its own; more than one make an ensemble,
    whose output is the mean of theirs."""
    device: Device = "auto"
    """Where it learns: auto is a GPU if there is one, else the CPU. gpu, or {gpus: 2} for two, insists on it: the run
    fails without. A container or work pool gives a GPU only where this, or `gpu` of the runner, asks for one: with auto
    alone it learns on the CPU."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """In what numbers products are computed; weights, and the saved network, are float32. auto is float32 but on a GPU
    that is fast at another."""
    xla: Literal["auto"] | bool = "auto"
    """Whether steps are compiled by XLA; auto measures, once a machine, whether a training that is long gains by it."""
    lazy_embeddings: Literal["auto"] | bool = "auto"
    """Whether an embedding's row moves only in steps whose batch holds it, which plain Adam can do: a step then takes
    no longer for a larger table. auto does so for tables of 20,000 rows or more that have 50 times the batch's."""
    memory_mb: int | None = Field(default=None, ge=1)
    """How much memory the encoded rows may take, in MiB; larger ones are streamed from disk, with the same outcome. By
    default a quarter of the machine's and, on a GPU, no more than half of the card's. Trials of a tuning that are
    trained at the same time (`tuning.parallel`) share it."""

    @property
    def gpus(self) -> int | None:
        """How many GPUs it insists on; None where the CPU will do."""
        return self.device.gpus if isinstance(self.device, Gpus) else 1 if self.device == "gpu" else None

    @property
    def deciding_metric(self) -> Metric | None:
        """The metric that says which epoch is the best; None if the validation loss does."""
        return self.early_stopping.metric if self.early_stopping else None

    @property
    def watched(self) -> tuple[Metric, ...]:
        """All metrics that are computed after each epoch."""
        return self.metrics if self.deciding_metric is None else (*self.metrics, self.deciding_metric)

    @model_validator(mode="after")
    def _lazy_embeddings_are_possible(self) -> Self:
        if self.lazy_embeddings is not True:
            return self
        moved = [key for key in _MOVES_ALL_ROWS if self.optimizer.arguments.get(key)]
        if names.find(self.optimizer.name, "optimizer").name != "Adam" or moved:
            raise ValueError(
                f"lazy_embeddings: {' with '.join([self.optimizer.name, *moved])} moves all rows of an embedding in "
                "each step; take plain adam, or set lazy_embeddings to auto"
            )
        if self.members > 1 or (isinstance(self.device, Gpus) and self.device.gpus > 1):
            raise ValueError(
                "lazy_embeddings is for one network on one device; set it to auto, or members and device.gpus to 1"
            )
        return self

    @model_validator(mode="after")
    def _members_are_independent(self) -> Self:
        if self.members == 1:
            return self
        if names.find(self.optimizer.name, "optimizer").name in _LOOKS_AT_WHOLE_VARIABLES:
            raise ValueError(
                f"members: {self.optimizer.name} would mix the members up, whose weights lie in one variable; take "
                "another optimizer, such as adam or lion"
            )
        if isinstance(self.device, Gpus) and self.device.gpus > 1:
            raise ValueError(f"members are trained on one device, not on {self.device.gpus}; set device to gpu")
        if self.precision == "mixed_float16":
            raise ValueError("members would share one loss scale in mixed_float16; set precision to mixed_bfloat16")
        return self
