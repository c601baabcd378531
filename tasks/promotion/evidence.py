"""What the checks of a promotion look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas.drift import DriftSummary
from schemas.evaluation import Evaluation
from schemas.promotion import Promotion
from tasks import metrics
from tasks.bundle import Bundle
from tasks.metrics import Scored
from tasks.promotion.champion import Champion


@dataclass(frozen=True)
class Evidence:
    """A challenger and, if there is one, the champion, both scored on the same test rows."""

    policy: Promotion
    """What has to be proven."""
    evaluation: Evaluation
    """How figures are computed."""
    metric: str
    """The metric that decides."""
    bundle: Bundle
    """The challenger's bundle."""
    ingested: Path
    """What ingest published."""
    test: Scored
    """The challenger's predictions of the test rows."""
    measured: Mapping[str, float]
    """The challenger's metrics on them."""
    champion: Champion | None
    """The champion's predictions of the same rows, or why there are none; None without a champion."""
    champion_measured: Mapping[str, float] | None
    """The champion's metrics on them."""
    drift: DriftSummary | None = None
    """How the rows differ from the champion's, if that is known."""

    def gain(self, metric: str, challenger: float, champion: float) -> float:
        """Return by how much the challenger's value of a metric is better than the champion's, in its own units."""
        return champion - challenger if metrics.lower_is_better(metric) else challenger - champion
