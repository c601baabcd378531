"""What a whole retraining run comes to: the one JSON object that `evermodel run --json` prints."""

from typing import Literal

from schemas.document import Document
from schemas.drift import DriftSummary
from schemas.stages import Metrics, Rows, Values


class StageRun(Document):
    """One stage of a run."""

    status: Literal["done"] = "done"
    """A run that fails ends with an error and has no result."""
    cached: bool
    """Whether the stage's output stood there already."""
    seconds: float
    """How long the stage took in this run."""
    path: str
    """The published directory."""


class RunRows(Document):
    """How many rows went where: read = accepted + rejected."""

    read: int
    """Rows in the source."""
    accepted: int
    """Rows that keep the contract."""
    rejected: int
    """Rows that do not."""

    @classmethod
    def of(cls, rows: Rows) -> "RunRows":
        """Return the counts without the splits."""
        return cls(read=rows.read, accepted=rows.accepted, rejected=rows.rejected)


class ModelVersion(Document):
    """The version that a run made, or found."""

    name: str
    """The registered model."""
    version: str
    """The version's number."""
    promoted: bool
    """Whether it is the champion now."""
    reason: str
    """Why, in one sentence with the numbers."""


class RunResult(Document):
    """A finished retraining run."""

    run_key: str
    """Digest of what the whole run depends on."""
    status: Literal["completed", "skipped"] = "completed"
    """A run that fails ends with an error and has no result. One that is skipped has neither stages nor a version."""
    stages: dict[str, StageRun]
    """The stages in their order."""
    rows: RunRows
    """How many rows went where."""
    metrics: Metrics
    """Metric values by split and by metric name."""
    champion_metrics: Values | None = None
    """The champion's values on the same test rows, if there was one to compare with."""
    warnings: list[str] = []
    """What a person should know of the data."""
    drift: DriftSummary | None = None
    """Whether the data differs from that which the champion was made from, if there was one to compare with."""
    decided: bool = False
    """Whether a person decided in this run about a version that waited for approval."""
    model: ModelVersion
    """The version that was made."""
    report: str
    """Path of the report."""

    @property
    def nothing_new(self) -> bool:
        """Whether every stage's output stood there already, and nothing was decided."""
        return not self.decided and all(stage.cached for stage in self.stages.values())

    @classmethod
    def skipped(cls, name: str, reason: str) -> "RunResult":
        """Return what comes of a run of this model that did nothing, for this reason."""
        return cls(
            run_key="",
            status="skipped",
            stages={},
            rows=RunRows(read=0, accepted=0, rejected=0),
            metrics={},
            model=ModelVersion(name=name, version="", promoted=False, reason=reason),
            report="",
        )
