"""What monitoring has seen of a version: the last of it as a tag, and its history as metrics of the version's run."""

from pydantic import Field, ValidationError

from schemas.document import Document
from schemas.monitoring import MonitorResult
from schemas.stages import Values
from tasks.registry import Registry, Version, answering
from tasks.tags import OBSERVED

SHARE, ROWS, REJECTED = "live_drift_share", "live_rows", "live_rejected"
"""Names of the histories in MLflow; those of the version's quality are live_METRIC."""

_MOST_METRICS = 20
_LONGEST = 1_000


class Observation(Document):
    """What monitoring saw at one moment."""

    checked: float
    """When, in seconds since 1970."""
    rows: int
    """How many rows were scored."""
    rejected: int
    """How many broke the contract."""
    drifted: bool | None
    """Whether they count as drifted; null where nobody can say."""
    reason: str
    """Why, in one sentence."""
    metrics: Values = Field(default_factory=dict)
    """The quality on labelled rows, the first 20 metrics."""


def of(version: Version) -> Observation | None:
    """Return what monitoring saw last; None if it never looked."""
    try:
        return Observation.model_validate_json(version.tags[OBSERVED]) if OBSERVED in version.tags else None
    except ValidationError:  # another version of Evermodel wrote it
        return None


def record(registry: Registry, version: Version, result: MonitorResult) -> None:
    """Record a result with its version: MLflow draws the history over time; the tag is what came last.

    What was recorded before, wholly or in part, is not recorded twice.
    """
    from mlflow.entities import Metric

    metrics = dict(list(result.metrics.items())[:_MOST_METRICS])
    seen = Observation(
        checked=result.checked,
        rows=result.rows.accepted,
        rejected=result.rows.rejected,
        drifted=result.drift.drifted if result.drift else None,
        reason=result.drift.reason[:_LONGEST] if result.drift else "the bundle carries no reference to compare with",
        metrics=metrics,
    )
    known = {ROWS: float(seen.rows), REJECTED: float(seen.rejected)}
    known |= {SHARE: result.drift.share} if result.drift else {}
    known |= {f"live_{name}": value for name, value in metrics.items() if value is not None and "[" not in name}
    moment = round(result.checked * 1000)
    with answering(registry.uri):
        client = registry.client
        history = client.get_metric_history(version.run_id, ROWS)
        if all(each.timestamp != moment for each in history):
            step = len(history)
            points = [Metric(name, value, moment, step) for name, value in known.items()]
            client.log_batch(version.run_id, metrics=points)
        last = of(version)
        if last is None or last.checked < seen.checked:
            client.set_model_version_tag(version.name, version.version, OBSERVED, seen.model_dump_json())
