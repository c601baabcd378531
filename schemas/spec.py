"""The spec: one document that describes a data set, its columns, the network and how it is kept fresh."""

import os
import re
from collections.abc import Callable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from schemas import fits, names
from schemas.columns import Column
from schemas.document import Document, or_text
from schemas.names import Kind
from schemas.runners import Docker, Inline, Runners, StageName, WorkPool

Problem = Literal["regression", "multioutput_regression", "binary", "multilabel", "multiclass"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]


class MisfitError(ValueError):
    """Two parts of a spec that do not fit together; `at` are the keys that lead to the one to change."""

    def __init__(self, message: str, *at: str) -> None:
        super().__init__(message)
        self.at = at


REGRESSION: frozenset[Problem] = frozenset({"regression", "multioutput_regression"})


_VARIABLE = re.compile(r"\$\{(\w+)\}")


def environment_names(text: str) -> list[str]:
    """Return the environment variables that a text names as ${NAME}."""
    return _VARIABLE.findall(text)


def expand_environment(text: str) -> str:
    """Replace ${NAME} by the environment variable NAME; raises ValueError when it is not set or nothing is left."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"environment variable {match[1]} is not set")
        return os.environ[match[1]]

    expanded = _VARIABLE.sub(value, text)
    if not expanded:
        raise ValueError("must not be empty")
    return expanded


def _expandable(text: str) -> str:
    expand_environment(text)
    return text


Expandable = Annotated[str, AfterValidator(_expandable)]
"""Text in which ${NAME} stands for an environment variable. It is checked here and replaced only where it is used, so
that a secret in the variable reaches no request, log, parameter or registry."""


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


class Initializer(Named):
    """A Keras initialiser with its arguments: `he_normal`, or `{name: truncated_normal, stddev: 0.1}`.

    A text alone is the name.
    """

    model_config = ConfigDict(json_schema_extra=_offering("initializer"))

    name: str
    """The Keras class name or its snake-case form."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        names.refuse_arguments(names.find(self.name, "initializer"), self.arguments)
        return self


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


class Source(Document):
    """Files with rows, and how they are read."""

    path: Expandable
    """A file, a folder, a glob or an fsspec URL; ${NAME} is replaced by that environment variable.
    A relative path counts from the spec's own folder."""
    format: Literal["csv", "parquet", "json", "arrow"] | None = None
    """How the files are written (json: one object a line); by default judged by the name's ending."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """What stands between two CSV fields."""
    encoding: str = "utf-8"
    """Encoding of CSV and JSON files."""

    @property
    def location(self) -> str:
        """The path with environment variables in their places: to be opened, not to be shown."""
        return expand_environment(self.path)


class Data(Source):
    """Where the rows come from, and what is borne of them."""

    nulls: tuple[str, ...] = ("",)
    """Texts that mean a missing value. Nothing else does: NA or None can be real categories."""
    key: tuple[str, ...] = ()
    """Columns that name a row. A second row of the same key is rejected, and the key decides the row's split."""
    weight: str | None = None
    """Column with the sample weight: 0 or more. Training and evaluation weigh rows by it."""
    extra: Literal["ignore", "forbid"] = "ignore"
    """What happens to columns that the spec does not name: left out and reported, or refused."""
    minimum_rows: int = Field(default=10, ge=3)
    """Fewer accepted rows than this are refused."""
    maximum_rejected: Fraction = 0.01
    """The largest share of rejected rows that is borne; above it the run is refused."""
    model: str | None = Field(default=None, pattern=r"^[\w.]+:\w+$")
    """A pandera DataFrameModel of your own, as module:name, checked on each batch beside the checks of this spec.
    The operator allows its module by EVERMODEL_ALLOW_MODULES."""


class Target(Document):
    """What is predicted."""

    column: str | None = None
    """The target's column: a number, a label, or (multilabel) a list of labels."""
    columns: tuple[str, ...] = ()
    """Several target columns: the outputs, the 0/1 labels, or the one-hot classes."""
    classes: tuple[str, ...] | None = None
    """The labels, in this order; another one rejects the row. By default those of the training split, sorted."""
    positive: str | None = None
    """Binary: the label whose probability is predicted; by default the second of the two in sorted order."""
    separator: str = "|"
    """Multilabel in one text column: what stands between two labels."""
    scale: Literal["standard", "none"] = "standard"
    """Regression: whether the network learns the target less its mean, over its deviation.
    Predictions always come back in the target's own units."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if (self.column is None) == (not self.columns):
            raise ValueError("give either column or columns")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("columns must be distinct")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("classes must be two or more, and distinct")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The target's columns, one or several."""
        return self.columns or (self.column or "",)


class _Fractions(Document):
    validation: Fraction = 0.2
    """Share of rows that early stopping and tuning look at."""
    test: Fraction = 0.2
    """Share of rows that only evaluation looks at."""

    @model_validator(mode="after")
    def _leave_rows_to_train(self) -> Self:
        if self.validation <= 0 or self.test <= 0:
            raise ValueError("validation and test must be above 0, such as 0.2")
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation + test must be below 1, got {self.validation + self.test:g}; use fractions such as 0.2"
            )
        return self


class HashSplit(_Fractions):
    """Each row goes where a hash of its key (without a key: of its values) says, in this run and all later ones."""

    by: Literal["hash"] = "hash"
    seed: int = 0
    """Another seed gives another assignment."""


class GroupSplit(_Fractions):
    """All rows of a group go to the same split: for rows that are not independent, such as visits of one patient."""

    by: Literal["group"] = "group"
    column: str
    """The column that names the group."""
    seed: int = 0
    """Another seed gives another assignment."""


class TimeSplit(_Fractions):
    """The oldest rows train, later ones validate, the latest test: for a future that may differ from the past."""

    by: Literal["time"] = "time"
    column: str
    """The column with the date or time: ISO 8601, or in the format that its datetime column says."""


class ColumnSplit(Document):
    """A column says where each row goes."""

    by: Literal["column"] = "column"
    column: str
    """The column with the names of the splits. Another value in it stops the run."""
    train: tuple[str, ...] = ("train",)
    """Values that mean training."""
    validation: tuple[str, ...] = ("validation",)
    """Values that mean validation."""
    test: tuple[str, ...] = ("test",)
    """Values that mean test."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        values = (*self.train, *self.validation, *self.test)
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"{twice[0]!r} means two splits; a value belongs to one")
        if not (self.train and self.validation and self.test):
            raise ValueError("train, validation and test want one value or more each")
        return self


def _by_hash(value: Any) -> Any:
    return {"by": "hash", **value} if isinstance(value, dict) else value


Split = Annotated[
    Annotated[HashSplit | GroupSplit | TimeSplit | ColumnSplit, Discriminator("by")], BeforeValidator(_by_hash)
]


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
    initializer: Initializer = Field(default_factory=lambda: Initializer(name="glorot_uniform"))
    """Initialiser of the hidden layers' weights, by its Keras name."""


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
    (rows, features), to which the output layer of the problem is added.
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


class EarlyStopping(Document):
    """Stops when the validation loss no longer falls, and goes back to the best epoch's weights."""

    patience: int = Field(default=20, ge=1)
    """How many epochs without a better validation loss are borne."""
    min_delta: float = Field(default=0.0, ge=0)
    """How much lower a validation loss must be to count as better."""
    weighted: bool = True
    """Whether validation rows count by their class and sample weights, as training rows do; otherwise all the same."""


class Gpus(Document):
    """Several GPUs of one machine: each has a copy of the network and takes its share of every batch."""

    gpus: int = Field(ge=1)
    """How many."""


class Training(Document):
    """How the network learns."""

    epochs: int = Field(default=200, ge=1)
    """How often the training rows are gone through, at most."""
    batch_size: int = Field(default=64, ge=1)
    """Rows per update of the weights."""
    optimizer: Optimizer = Field(default_factory=lambda: Optimizer(name="adam"))
    """The Keras optimiser, with its arguments."""
    loss: Loss | None = None
    """The loss, with its arguments; by default the one that belongs to the problem."""
    save_format: Literal["keras", "h5"] = "keras"
    """How the network is saved, with its optimiser's state: Keras's own format, or HDF5 for older programs."""
    early_stopping: EarlyStopping | None = Field(default_factory=EarlyStopping)
    """When to stop; null trains for all epochs and keeps the best one's weights."""
    class_weight: ClassWeight | None = None
    """balanced: a class counts as much as any other, however rare in the training split. effective_number: less so.
    Or a weight by label, 1 for those not named. Multilabel: each label's positives against its negatives; a number
    weighs that label's positives. The rows' own weights (`data.weight`) multiply with it."""
    output_weight: dict[str, Weight] | None = None
    """Multi-output regression: how much each target's loss counts, by its column; 1 for those not named."""
    seed: int = Field(default=0, ge=0)
    """Seed of the first weights, of the order of rows and of dropout."""
    device: Literal["auto", "cpu", "gpu"] | Gpus = "auto"
    """Where it learns: auto is a GPU if there is one, else the CPU. gpu, or {gpus: 2} for two, insists on it: the run
    fails without."""
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    """In what numbers products are computed; weights, and the saved network, are float32. auto is float32 but on a GPU
    that is fast at another."""
    xla: Literal["auto"] | bool = "auto"
    """Whether steps are compiled by XLA; auto compiles where training is long enough to gain by it."""
    memory_mb: int | None = Field(default=None, ge=1)
    """How much memory the encoded rows may take, in MiB; larger ones are streamed from disk, with the same outcome. By
    default a quarter of the machine's or, on a GPU, half of the card's."""


class Costs(Document):
    """What wrong decisions cost, in any unit: for the choice of a threshold."""

    false_positive: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What it costs to take a negative for a positive."""
    false_negative: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What it costs to miss a positive."""


Share = Annotated[float, Field(gt=0, lt=1)]


class Evaluation(Document):
    """How the trained network is judged, and what the report shows beside the metrics."""

    metric: Metric | None = None
    """The metric that a challenger must win by; by default root_mean_squared_error, roc_auc (multilabel: its mean)
    or accuracy."""
    metrics: tuple[Metric, ...] = ()
    """Metrics to compute beside those that are computed of every run."""
    costs: Costs | None = None
    """Binary and multilabel: what the report's choice of a threshold rests on; by default both mistakes cost 1."""
    slices: tuple[str, ...] | None = None
    """Columns of the source by whose values the report takes the test rows apart; they need not be features. By
    default the three most important features, categories first; an empty list for none."""
    bootstrap: int = Field(default=200, ge=0, le=10_000)
    """Resamples behind each 95 % interval; 0 for no intervals."""
    importance: int = Field(default=3, ge=0, le=100)
    """How often each column is shuffled to see how much worse the predictions get; 0 for not at all."""
    worst: int = Field(default=10, ge=0, le=1000)
    """How many of the worst predicted test rows the report shows, with their values."""
    refits: int = Field(default=0, ge=0, le=1000)
    """Networks trained anew on resampled training rows, for an estimate of bias² and variance. Each costs as much as
    the training itself; 0 for no estimate, 10 give a fair one."""
    data_sizes: tuple[Share, ...] = ()
    """Shares of the training rows, such as [0.1, 0.3], to train on anew: the report then shows what more rows bring."""
    seed: int = Field(default=0, ge=0)
    """Seed of resampling, shuffling and refits."""

    @model_validator(mode="after")
    def _as_asked(self) -> Self:
        if self.refits == 1:
            raise ValueError("refits must be 0, or 2 and more: one network shows no variance")
        if self.slices and len(set(self.slices)) < len(self.slices):
            raise ValueError("slices must be distinct")
        return self

    @property
    def wanted(self) -> tuple[Metric, ...]:
        """All metrics that are named, the deciding one among them."""
        return self.metrics if self.metric is None else (*self.metrics, self.metric)

    @property
    def trains(self) -> bool:
        """Whether networks are trained for it."""
        return bool(self.refits or self.data_sizes)


class Spec(Document):
    """A model that is kept fresh: its data, columns, target, network, training and evaluation."""

    name: Name
    """The model's name in the registry: small letters, digits, - and _."""
    problem: Problem
    """What kind of target is predicted."""
    data: Data
    """Where the rows come from."""
    target: Target
    """What is predicted."""
    columns: dict[str, Column] = Field(min_length=1)
    """The feature columns by name, each with its kind."""
    split: Split = Field(default_factory=HashSplit)
    """How rows are shared out among training, validation and test."""
    network: Network = Field(default_factory=Mlp)
    """The network."""
    training: Training = Field(default_factory=Training)
    """How it learns."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How it is judged."""
    runner: Runners = Field(default_factory=Runners)
    """Where the stages run."""

    def runner_of(self, stage: StageName) -> Inline | Docker | WorkPool:
        """Return where a stage runs; train in a container gets the GPUs that it is to learn on."""
        runner, device = self.runner.of(stage), self.training.device
        if stage != "train" or isinstance(runner, Inline) or runner.gpu or device in ("auto", "cpu"):
            return runner
        return runner.model_copy(update={"gpu": device.gpus if isinstance(device, Gpus) else 1})

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _refuse_target_as_feature(self)
        _refuse_wrong_target(self)
        _refuse_wrong_weights(self)
        _refuse_misfits(self)
        _refuse_wrong_evaluation(self)
        return self

    @property
    def own_code(self) -> tuple[str, ...]:
        """What the spec names of the user's own, as module:name."""
        named = [*self.evaluation.wanted, *([self.training.loss] if self.training.loss else [])]
        own = [each.name for each in named if names.is_reference(each.name)]
        model = [self.data.model] if self.data.model else []
        return (*model, *own, *([self.network.builder] if isinstance(self.network, Custom) else []))


def _refuse_target_as_feature(spec: Spec) -> None:
    for name in (*spec.target.names, spec.data.weight):
        if name in spec.columns:
            raise MisfitError(
                f"{name!r} is the target or the weight: take it out of columns, or it leaks", "columns", name
            )
    for name in (*spec.columns, *spec.target.names):
        if name.startswith(("_row", "_weight", "_split", "_key.", "_slice.")):
            raise MisfitError(
                f"column name {name!r} is reserved: rename the column",
                *(("columns", name) if name in spec.columns else ("target",)),
            )


def _refuse_wrong_target(spec: Spec) -> None:
    target, several = spec.target, len(spec.target.columns)
    wanted = {
        "regression": ("column", not several),
        "binary": ("column", not several),
        "multioutput_regression": ("columns, two or more", several > 1),
        "multiclass": ("column, or columns for one-hot classes", several != 1),
        "multilabel": ("columns of 0 and 1, or column with lists of labels", several != 1),
    }
    form, fits = wanted[spec.problem]
    if not fits:
        raise MisfitError(f"problem {spec.problem} wants target.{form}", "target")
    if target.positive is not None and spec.problem != "binary":
        raise MisfitError(f"target.positive belongs to problem binary, not {spec.problem}", "target", "positive")
    if target.classes is not None and (spec.problem in REGRESSION or several):
        raise MisfitError("target.classes belongs to a target column of labels", "target", "classes")
    if target.classes is not None and spec.problem == "binary" and len(target.classes) != 2:
        raise MisfitError(f"problem binary wants two target.classes, got {len(target.classes)}", "target", "classes")
    if spec.network.output_activation is not None and spec.problem not in REGRESSION:
        raise MisfitError(
            f"network.output_activation is fixed by problem {spec.problem}: take it out", "network", "output_activation"
        )
    if spec.network.output_activation not in (None, "linear") and target.scale != "none":
        raise MisfitError(
            "network.output_activation bounds the target in its own units: set target.scale to none",
            "network",
            "output_activation",
        )


def _refuse_wrong_weights(spec: Spec) -> None:
    training, target = spec.training, spec.target
    if training.class_weight is not None and spec.problem in REGRESSION:
        remedy = "training.output_weight" if spec.problem == "multioutput_regression" else "data.weight"
        raise MisfitError(
            f"training.class_weight has no meaning for problem {spec.problem}: use {remedy}", "training", "class_weight"
        )
    if isinstance(training.class_weight, dict):
        _refuse_unknown_names("class_weight", training.class_weight, target.columns or target.classes, "label")
    if training.output_weight is not None:
        if spec.problem != "multioutput_regression":
            raise MisfitError(
                f"training.output_weight belongs to problem multioutput_regression, not {spec.problem}",
                "training",
                "output_weight",
            )
        _refuse_unknown_names("output_weight", training.output_weight, target.columns, "target")
    by_output = training.output_weight or (training.class_weight if spec.problem == "multilabel" else None)
    if by_output and training.loss and _compares_whole_rows(training.loss):
        raise MisfitError(
            f"loss {training.loss.name} compares whole rows, so that an output has no loss of its own to weigh: take "
            "the weights out or another loss",
            *("training", "loss"),
        )


def _compares_whole_rows(loss: Loss) -> bool:
    return not names.is_reference(loss.name) and fits.looks_at_all_outputs(names.find(loss.name, "loss").name)


def _refuse_unknown_names(key: str, weights: dict[str, float], known: tuple[str, ...] | None, what: str) -> None:
    """Refuse weights for what does not exist, as far as the spec says what does, and weights that leave nothing."""
    for name in weights if known else ():
        if name not in (known or ()):
            raise MisfitError(
                f"training.{key}: no {what} {name!r}; there are {', '.join(known or ())}", "training", key, name
            )
    if known and not any(weights.get(name, 1.0) for name in known):
        raise MisfitError(f"training.{key} is 0 for every {what}: nothing would count", "training", key)


def _refuse_misfits(spec: Spec) -> None:
    """Refuse a loss or metric that has no meaning for the problem."""
    target, loss = spec.target, spec.training.loss
    said = fits.said_by(
        spec.problem,
        outputs=len(target.columns) or len(target.classes or ()) or None,
        output_activation=spec.network.output_activation,
        own_units=target.scale == "none",
    )
    if loss is not None and not names.is_reference(loss.name):
        try:
            fits.refuse_loss(loss.name, said)
        except ValueError as error:
            raise MisfitError(f"training.loss: {error}", "training", "loss") from error
    for metric in spec.evaluation.wanted:
        key = "metric" if metric is spec.evaluation.metric else "metrics"
        try:
            if not names.is_reference(metric.name):
                _, entry = fits.metric(metric.name.partition("[")[0], metric.arguments, said)
                if key == "metric" and entry.lower_is_better is None:
                    raise ValueError(f"{entry.name} is neither better lower nor higher: it decides nothing")
        except ValueError as error:
            raise MisfitError(f"evaluation.{key}: {error}", "evaluation", key) from error


def _refuse_wrong_evaluation(spec: Spec) -> None:
    for name in spec.evaluation.slices or ():
        if name in spec.columns and spec.columns[name].kind == "tensor":
            raise MisfitError(f"column {name!r} holds tensors: rows cannot be told apart by it", "evaluation", "slices")
    if spec.evaluation.costs is not None and spec.problem not in {"binary", "multilabel"}:
        raise MisfitError(
            f"evaluation.costs belongs to problems binary and multilabel, not {spec.problem}", "evaluation", "costs"
        )
