"""The spec: one document that describes a data set, its columns, the network and how it is kept fresh."""

from typing import Self

from pydantic import Field, model_validator

from schemas import misfits, names, tuning
from schemas.columns import Column, own_encoders
from schemas.data import Data, HashSplit, Name, Problem, Split, Target, TimeSplit
from schemas.document import Document
from schemas.drift import Drift
from schemas.evaluation import Evaluation
from schemas.networks import Custom, Mlp, Network
from schemas.promotion import Promotion
from schemas.retraining import Retraining
from schemas.runners import EVERY_RUN, STAGES, Docker, Inline, Runners, StageName, WorkPool
from schemas.schedules import Schedule
from schemas.training import Training
from schemas.tuning import Settings, Tuning


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
    tuning: Tuning | None = None
    """Which other settings are tried before training; null for none."""
    evaluation: Evaluation = Field(default_factory=Evaluation)
    """How it is judged."""
    promotion: Promotion = Field(default_factory=Promotion)
    """What a new version has to prove before predictions use it."""
    drift: Drift = Field(default_factory=Drift)
    """When new data counts as different from what the champion was trained on."""
    runner: Runners = Field(default_factory=Runners)
    """Where the stages run."""
    retraining: Retraining = Field(default_factory=Retraining)
    """How its runs get on with each other."""
    schedules: tuple[Schedule, ...] = ()
    """When `evermodel deploy` and `evermodel serve` let it be retrained, unless they are told otherwise."""

    def runner_of(self, stage: StageName) -> Inline | Docker | WorkPool:
        """Return where a stage runs; one that trains in a container gets the GPUs that it is to learn on."""
        runner, gpus = self.runner.of(stage), self.training.gpus
        if isinstance(runner, Inline) or runner.gpu or gpus is None or not self.trains(stage):
            return runner
        return runner.model_copy(update={"gpu": gpus})

    def trains(self, stage: StageName) -> bool:
        """Whether a stage trains networks."""
        return stage in ("tune", "train") or (stage == "evaluate" and self.evaluation.trains)

    def uses_gpu(self, stage: StageName) -> bool:
        """Whether a stage is to run on a GPU, by the device that is asked for or by its runner."""
        asked_for = self.training.gpus is not None
        return self.trains(stage) and (asked_for or getattr(self.runner_of(stage), "gpu", None) is not None)

    @property
    def gpus_of_flow(self) -> int | None:
        """How many GPUs the flow's own process has to have, for the stages that train in it."""
        here = [stage for stage in self.stages if isinstance(self.runner.of(stage), Inline)]
        return self.training.gpus if any(self.trains(stage) for stage in here) else None

    @property
    def time(self) -> str | None:
        """The column with the rows' time, if one is known."""
        return self.data.time or (self.split.column if isinstance(self.split, TimeSplit) else None)

    def settled(self, settings: Settings) -> Self:
        """Return the spec with tuned settings in it."""
        network, training = tuning.settled(self.network, self.training, settings)
        return self.model_copy(update={"network": network, "training": training})

    @property
    def stages(self) -> tuple[StageName, ...]:
        """The stages of its runs."""
        return STAGES if self.tuning else EVERY_RUN

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        misfits.refuse(self)
        tuning.refuse_misfits(self)
        return self

    @property
    def own_code(self) -> tuple[str, ...]:
        """What the spec names of the user's own, as module:name."""
        wanted = [*self.evaluation.wanted, *self.training.watched]
        named = [*wanted, self.training.loss, self.tuning and self.tuning.metric]
        own = [each.name for each in named if each and names.is_reference(each.name)]
        model = [self.data.model] if self.data.model else []
        builder = [self.network.builder] if isinstance(self.network, Custom) else []
        return (*model, *own_encoders(self.columns), *own, *builder)
