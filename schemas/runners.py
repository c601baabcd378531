"""Where a stage runs: in the flow's own process, in a container, or on a work pool.

A kind is one class here and one module of the same name in `flows/runners/`.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, model_validator

from schemas.document import Document, or_text

StageName = Literal["ingest", "encode", "tune", "train", "evaluate", "register"]
STAGES: tuple[StageName, ...] = ("ingest", "encode", "tune", "train", "evaluate", "register")
EVERY_RUN: tuple[StageName, ...] = tuple(stage for stage in STAGES if stage != "tune")
"""The stages of a run that tunes nothing."""

Size = Annotated[str, Field(pattern=r"^[1-9]\d*[kmg]$")]
Gpu = Literal["all"] | Annotated[int, Field(ge=1)] | tuple[str, ...]


class _Runner(Document):
    timeout_s: float | None = Field(default=None, gt=0)
    """After so many seconds the stage is stopped, and the run fails."""


class Inline(_Runner):
    """In the process of the flow itself."""

    kind: Literal["inline"] = "inline"
    """The kind of runner."""


class _Container(_Runner):
    image: str | None = None
    """The image; by default the one that `evermodel images build` makes: the stage's own or, on a work pool,
    evermodel-pool or evermodel-pool-gpu."""
    memory: Size | None = None
    """The most memory that the container may use, such as 8g; by default all there is."""
    cpus: float | None = Field(default=None, gt=0)
    """How many processors it may use; by default all."""
    gpu: Gpu | None = None
    """The GPUs it gets: all, so many, or those of these ids; by default those that training.device asks for."""


class Docker(_Container):
    """In a container of its own on this machine's Docker engine: read-only, without rights or a needless network."""

    kind: Literal["docker"] = "docker"
    """The kind of runner."""
    pids: int = Field(default=1024, ge=16)
    """How many processes and threads it may have."""
    shared_memory: Size = "64m"
    """Size of /dev/shm."""
    network: str | None = None
    """The engine's network that it joins; by default none, or bridge where the registry or the data is remote."""
    environment: tuple[str, ...] = ()
    """Environment variables that it gets from the flow's process, by name, beside those that the stage needs."""


class WorkPool(_Container):
    """On a Prefect work pool, as a deployment of its own that `evermodel deploy` makes."""

    kind: Literal["work_pool"] = "work_pool"
    """The kind of runner."""
    pool: str = Field(min_length=1)
    """The work pool's name."""
    queue: str | None = None
    """The queue in it."""
    job_variables: dict[str, Any] = {}
    """Further job variables of the pool, such as volumes and networks for docker, node_selector for kubernetes. What
    is a mapping or a list, such as env and volumes, is added to Evermodel's own."""


def _inline(value: Any) -> Any:
    return {"kind": "inline", **value} if isinstance(value, dict) else value


Runner = Annotated[Annotated[Inline | Docker | WorkPool, Discriminator("kind")], BeforeValidator(_inline)]


def _or_its_kind(schema: dict[str, Any]) -> None:
    or_text(schema)
    schema["anyOf"][0]["enum"] = ["inline", "docker"]


class Runners(Document):
    """Where the stages run. A text alone, or a runner's own keys, hold for all of them."""

    model_config = ConfigDict(json_schema_extra=_or_its_kind)

    default: Runner = Field(default_factory=Inline)
    """Where every stage runs that `stages` does not name."""
    stages: dict[StageName, Runner] = {}
    """Where stages run that run elsewhere, by stage."""

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"default": {"kind": value}}
        return {"default": value} if isinstance(value, dict) and "kind" in value else value

    def of(self, stage: StageName) -> Inline | Docker | WorkPool:
        """Return where a stage runs."""
        return self.stages.get(stage, self.default)
