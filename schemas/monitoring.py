"""Request and result of monitoring: new rows beside what the champion was made from, without training anything."""

from typing import Any, ClassVar

from pydantic import Field

from schemas.data import Name, Source
from schemas.drift import Drift, DriftSummary
from schemas.named import Metric
from schemas.stages import Input, Request, Result, Rows, Values


class MonitorRequest(Request):
    """Compare new rows, and what the champion says of them, with the champion's own reference."""

    places: ClassVar[dict[str, Any]] = {"workspace": True, "bundle": {"path"}, "source": {"path"}}

    name: Name
    """The registered model's name."""
    version: str
    """The champion's version."""
    bundle: Input
    """The directory of its bundle. `digest` is that of its bundle.json."""
    source: Source
    """The new rows, in any form that ingest reads; if the target's columns are there, the quality is measured."""
    drift: Drift = Field(default_factory=Drift)
    """When the rows count as different from those that the champion was made from."""
    metrics: tuple[Metric, ...] = ()
    """Metrics to compute of labelled rows, beside those that are computed of every run."""


class MonitorResult(Result):
    """Publishes rejected.parquet, quality.json and, if the bundle carries a reference, drift.json."""

    name: str
    """The registered model's name."""
    version: str
    """The version that scored the rows."""
    checked: float
    """When, in seconds since 1970."""
    rows: Rows
    """How many rows were read, scored and rejected."""
    labelled: int
    """How many of them came with a target, and make up the metrics."""
    metrics: Values = {}
    """The version's quality on the labelled rows."""
    drift: DriftSummary | None = None
    """Whether the rows differ from those that the version was made from; null if its bundle does not say how they
    were."""
