"""Requests and results of the stages: small JSON documents that carry paths, digests and figures, never data."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from schemas.contract import Contract
from schemas.data import Fraction, Name, Source, Split
from schemas.document import Document, digest
from schemas.drift import Drift, DriftSummary
from schemas.evaluation import Evaluation
from schemas.networks import Mlp, Network
from schemas.period import Period
from schemas.promotion import OUTSIDE_VERDICT, Check, Promotion, Verdict
from schemas.runners import StageName
from schemas.training import Training
from schemas.tuning import Settings, Space, Tuning, default_space

Values = dict[str, float | None]
"""Metric values by name; null where a metric has no value, such as an AUC over one class."""

Metrics = dict[str, Values]
"""Metric values by split (train, validation, test) and by metric name."""


class Input(Document):
    """A directory that an earlier stage published."""

    path: str
    """The directory, or its URL."""
    digest: str | None = None
    """What its files must add up to (`Result.digest`); without it the directory's own result.json is believed."""


class Request(Document):
    """What a stage is asked to do."""

    places: ClassVar[dict[str, Any]] = {"workspace": True}
    """Fields that say where things are, not what they are (as pydantic's `exclude`): no part of the run key."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Fields that are no part of the run key as long as nothing is asked by them."""

    workspace: str = ".evermodel"
    """Where the stage publishes: a directory, or a URL in an object store."""

    def identity(self) -> dict[str, Any]:
        """Return what the stage's output depends on, as JSON-able values."""
        identity = self.model_dump(mode="json", exclude=self.places)
        return {name: value for name, value in identity.items() if value or name not in self.optional}


class Result(Document):
    """What a stage has published. A directory without a result.json does not exist."""

    stage: str
    """The stage's name."""
    run_key: str
    """Digest of what the output depends on."""
    path: str
    """The published directory, or its URL."""
    files: dict[str, str]
    """SHA-256 of each published file, by its path in the directory."""
    seconds: float
    """How long the stage took."""

    @property
    def digest(self) -> str:
        """One digest for all published files."""
        return digest(self.files)

    @property
    def as_input(self) -> Input:
        """The directory, as a later stage asks for it."""
        return Input(path=self.path, digest=self.digest)


class Rows(Document):
    """How many rows went where: read = accepted + rejected."""

    read: int
    """Rows in the source."""
    accepted: int
    """Rows that keep the contract."""
    rejected: int
    """Rows in rejected.parquet, each with its reasons."""
    outside: int = 0
    """Rows of the source beside these, whose time is outside the period."""
    train: int = 0
    """Accepted rows in the training split."""
    validation: int = 0
    """Accepted rows in the validation split."""
    test: int = 0
    """Accepted rows in the test split."""


class IngestRequest(Request):
    """Read, check and split raw rows."""

    places: ClassVar[dict[str, Any]] = {"workspace": True, "source": {"path"}, "verify": True}
    optional = ("period",)

    source: Source
    """Where the rows come from."""
    contract: Contract
    """What a row must look like."""
    split: Split
    """How rows are shared out."""
    period: Period | None = None
    """Which rows are taken, by their time; by default all."""
    extra: Literal["ignore", "forbid"] = "ignore"
    """What happens to columns that the contract does not name."""
    minimum_rows: int = Field(default=10, ge=3)
    """Fewer accepted rows are refused."""
    maximum_rejected: Fraction = 0.01
    """A larger share of rejected rows is refused."""
    verify: bool = False
    """Whether files are read for their digest even if size and times say that they are the same as before."""


class IngestResult(Result):
    """Publishes rows/{train,validation,test}.parquet, rejected.parquet, profile.json, reference.json, contract.json."""

    rows: Rows
    """How many rows went where."""
    warnings: list[str] = []
    """What a person should know of the data: constant columns, columns left out and the like."""


class EncodeRequest(Request):
    """Fit the encoder on the training rows and apply it to every split."""

    places: ClassVar[dict[str, Any]] = {"workspace": True, "ingest": {"path"}, "champion": {"path"}}
    optional = ("champion",)

    ingest: Input
    """What ingest published."""
    champion: Input | None = None
    """A bundle whose encoder is to be used again, if columns and outputs fit. `digest` is that of its bundle.json."""


class EncodeResult(Result):
    """Publishes features/{train,validation,test}.parquet, encoder.json and unknown.json (shares of unknown)."""

    features: int
    """How many numbers and codes a row has."""
    outputs: tuple[str, ...] = ()
    """The names of what is to be predicted: columns of numbers, classes or labels. Older results do not say."""
    warnings: list[str] = []
    """What a person should know of the encoding: columns dropped, rates of unknown categories and the like."""


class TuneRequest(Request):
    """Try settings of the network and its training, and find those that do best on the validation rows."""

    places: ClassVar[dict[str, Any]] = {
        "workspace": True,
        "encode": {"path"},
        "ingest": {"path"},
        "training": {"memory_mb"},
        "tuning": {"when"},
    }

    ingest: Input
    """What ingest published: its contract says what the loss is."""
    encode: Input
    """What encode published. Its test rows are not read."""
    network: Network = Field(default_factory=Mlp)
    """The network, before settings are changed."""
    training: Training = Field(default_factory=Training)
    """How it learns, before settings are changed."""
    tuning: Tuning = Field(default_factory=Tuning)
    """What is varied, and how often."""

    @property
    def space(self) -> Space:
        """What is varied."""
        return self.tuning.space or default_space(self.network, self.training)


class TuneResult(Result):
    """Publishes best.json (the settings), trials.csv and study.json."""

    settings: Settings
    """The settings to train with, by dotted key of the spec; none where the spec's own are best."""
    trial: int
    """The trial that found them, from 1, which is the spec as it stands."""
    validation_loss: float
    """Its validation loss."""
    metric: float | None = None
    """Its value of tuning.metric, if trials were compared by one."""
    trials: int
    """How many trials there were."""
    warnings: list[str] = []
    """What a person should look at, such as trials that failed."""


class Tuned(Document):
    """How a version's settings were found: what later runs read in the registry before they tune anew."""

    question: str
    """The run key of tune for the version's spec and data, whether it ran or not."""
    subject: str
    """Digest of what was tuned: network, training, and what was varied of them."""
    settings: Settings
    """The settings, by dotted key of the spec."""
    age: int = Field(ge=0)
    """For how many versions they had been in use; 0 for the one they were tuned for."""
    version: str | None = None
    """The version that they were tuned for, if it is an earlier one."""
    study: str | None = None
    """The run key of the tune that found them; null in versions of older releases, as the next one."""
    trial: int | None = None
    """The trial that found them, from 1, which is the spec as it stands."""


class Start(Document):
    """From which champion training was to begin: a version carries it, so that a rerun begins from the same one."""

    question: str
    """Digest of what was to be trained on which rows, whoever the champion is."""
    champion: str | None = None
    """The champion's version in the registry; null where there was none."""
    objection: str = ""
    """Why its network could not be gone on from, if it could not."""


class TrainRequest(Request):
    """Train a network on encoded rows."""

    places: ClassVar[dict[str, Any]] = {
        "workspace": True,
        "encode": {"path"},
        "ingest": {"path"},
        "training": {"memory_mb"},  # the outcome is the same, wherever the rows lie
        "champion": {"path"},
    }
    optional = ("champion", "refit")

    ingest: Input
    """What ingest published: its contract goes into the bundle."""
    encode: Input
    """What encode published."""
    network: Network = Field(default_factory=Mlp)
    """The network."""
    training: Training = Field(default_factory=Training)
    """How it learns."""
    champion: Input | None = None
    """The bundle whose weights training begins from, if encode took its encoder and the network is alike."""
    refit: bool = False
    """Whether to train anew, on training and validation rows, for as many epochs as were best."""


class TrainResult(Result):
    """Publishes history.json and bundle/ (bundle.json, contract.json, encoder.json, network.keras, reference.json)."""

    epochs: int
    """How many epochs were trained."""
    best_epoch: int
    """The epoch, from 1, whose weights were kept."""
    parameters: int
    """How many numbers the network learned."""
    validation_loss: float
    """The validation loss of that epoch."""
    started_from: str | None = None
    """The digest of the bundle whose weights training began from, if it did not begin afresh."""
    refitted: bool = False
    """Whether the network was trained anew on training and validation rows: the validation loss is that before."""
    warnings: list[str] = []
    """What a person should look at, such as a batch that was halved for want of memory."""


class EvaluateRequest(Request):
    """Score a bundle, and the champion's beside it, on raw validated rows."""

    places: ClassVar[dict[str, Any]] = {
        "workspace": True,
        "ingest": {"path"},
        "train": {"path"},
        "encode": {"path"},
        "tune": {"path"},
        "champion": {"path"},
        "promotion": OUTSIDE_VERDICT,
    }
    optional = ("tune", "tuned")

    name: Name
    """The model's name, for the report."""
    ingest: Input
    """What ingest published."""
    train: Input
    """What train published: the challenger."""
    encode: Input | None = None
    """What encode published. Only where evaluation asks for refits or data_sizes, as the next two fields."""
    network: Network | None = None
    """The network to train anew."""
    training: Training | None = None
    """How it learns."""
    tune: Input | None = None
    """What tune published, if the settings were tuned for this network."""
    tuned: Tuned | None = None
    """How the settings were found, if they were tuned for an earlier version."""
    champion: Input | None = None
    """The directory of the champion's bundle, if there is one. `digest` is that of its bundle.json."""
    champion_version: str | None = None
    """The champion's version in the registry."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How the network is judged."""
    promotion: Promotion = Field(default_factory=Promotion)
    """What a challenger has to prove."""
    drift: Drift = Field(default_factory=Drift)
    """When the rows count as different from those that the champion was made from."""


class EvaluateResult(Result):
    """Publishes metrics.json, verdict.json, predictions.json, report.html, figures/; beside a champion drift.json."""

    metrics: Metrics
    """The challenger's metrics on each split; without validation where the network was refitted on it."""
    champion_metrics: Values | None = None
    """The champion's metrics on the test rows."""
    verdict: Verdict
    """Whether the challenger should replace the champion."""
    drift: DriftSummary | None = None
    """Whether the rows differ from those that the champion was made from, if there is one that can tell."""


class RegisterRequest(Request):
    """Make a version of the registered model, and move the aliases."""

    places: ClassVar[dict[str, Any]] = {
        "workspace": True,
        "tracking_uri": True,
        "parameters": True,
        "tuned": True,
        "start": True,
        "ingest": {"path"},
        "train": {"path"},
        "evaluate": {"path"},
    }

    name: Name
    """The registered model's name."""
    ingest: Input
    """What ingest published."""
    train: Input
    """What train published."""
    evaluate: Input
    """What evaluate published."""
    champion_version: str | None = None
    """The version that the evaluation compared with."""
    parameters: dict[str, Any] = {}
    """What is logged as the run's parameters: the spec, flattened."""
    promote: Literal["auto", "approve", "never"] = "auto"
    """Who has the last word on a challenger that passed."""
    smoke: int = 20
    """Test rows that the registered model has to predict as in evaluation; 0 for no such test."""
    tuned: Tuned | None = None
    """How the settings were found, if they were tuned: the version carries it for later runs."""
    start: Start | None = None
    """From which champion training was to begin, if it was: the version carries it for later runs."""
    tracking_uri: str | None = None
    """The MLflow server or store; by default MLFLOW_TRACKING_URI, else SQLite and files in the workspace."""


class RegisterResult(Result):
    """Publishes version.json; the version itself is in the registry."""

    name: str
    """The registered model's name."""
    version: str
    """The new version."""
    promoted: bool
    """Whether the alias `champion` points to it."""
    waits: bool = False
    """Whether it passed every check and a person has the last word."""
    reason: str
    """Why, in one sentence with the numbers."""
    checks: tuple[Check, ...] = ()
    """What was looked at when the version was there: that it loads and predicts as it was evaluated."""


REQUESTS: dict[StageName, type[Request]] = {
    "ingest": IngestRequest,
    "encode": EncodeRequest,
    "tune": TuneRequest,
    "train": TrainRequest,
    "evaluate": EvaluateRequest,
    "register": RegisterRequest,
}
"""What each stage is asked with."""
