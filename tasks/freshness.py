"""How fresh the versions of a model are: their age, the period of their data, their quality, and what came since."""

import datetime
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationError

from schemas.document import Document
from schemas.reference import Reference, Times
from schemas.stages import EvaluateResult
from tasks import decisions, observations
from tasks.decisions import Decision
from tasks.observations import Observation
from tasks.registry import Version
from tasks.tags import ORIGIN


class Origin(Document):
    """What is known of a version when it is made, and stays."""

    metric: str
    """The metric that decided."""
    quality: float
    """Its value on the test rows."""
    rows: int | None = None
    """How many rows it was made from, with those of validation and test."""
    period: tuple[str, str] | None = None
    """First and last time in its data, ISO 8601 in UTC: of what decides the split, else of the first times."""
    drift: str | None = None
    """How its data differed from that of the champion of then, in one sentence."""


class Freshness(Document):
    """One version of a model."""

    version: str
    """Its number."""
    aliases: tuple[str, ...]
    """Such as champion and challenger."""
    made: str
    """When it was registered, ISO 8601 in UTC."""
    age_days: float
    """How long ago that is."""
    origin: Origin | None = None
    """What is known since it was made; null in versions of an older Evermodel."""
    observed: Observation | None = None
    """What monitoring saw of it last."""
    decisions: tuple[Decision, ...] = Field(default=())
    """Who promoted or refused it, when and why; the last one last."""


def origin_of(bundle: Path, evaluation: EvaluateResult) -> Origin:
    """Return what is to be remembered of a version that is made from a bundle."""
    path, verdict = bundle / "reference.json", evaluation.verdict
    reference = Reference.load(path) if path.is_file() else None
    return Origin(
        metric=verdict.metric,
        quality=verdict.challenger,
        rows=reference.rows if reference else None,
        period=_period(reference.period) if reference and reference.period else None,
        drift=evaluation.drift.reason[:1_000] if evaluation.drift else None,
    )


def as_of(version: Version, parameters: Mapping[str, str]) -> datetime.datetime:
    """Return as of when a version was made, in UTC: its `data.until` among what its run says, else when it was made."""
    if until := parameters.get("data.until"):
        return datetime.datetime.fromisoformat(until)
    return datetime.datetime.fromtimestamp(version.created_ms / 1000, datetime.UTC)


def _period(times: Times) -> tuple[str, str] | None:
    if times.earliest is None or times.latest is None:
        return None
    start = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        first, last = (start + datetime.timedelta(seconds=each) for each in (times.earliest, times.latest))
    except OverflowError:  # Python's times end with the year 9999
        return None
    return first.isoformat(timespec="seconds"), last.isoformat(timespec="seconds")


def of(version: Version) -> Freshness:
    """Return how fresh a version is at this moment."""
    made = datetime.datetime.fromtimestamp(version.created_ms / 1000, datetime.UTC).replace(microsecond=0)
    return Freshness(
        version=version.version,
        aliases=version.aliases,
        made=made.isoformat(),
        age_days=round(max(0.0, (decisions.now() - made).total_seconds() / 86_400), 3),
        origin=_origin(version),
        observed=observations.of(version),
        decisions=decisions.of(version),
    )


def _origin(version: Version) -> Origin | None:
    try:
        return Origin.model_validate_json(version.tags[ORIGIN]) if ORIGIN in version.tags else None
    except ValidationError:  # another version of Evermodel wrote it
        return None
