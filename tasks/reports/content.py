"""What a report tells of."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from schemas.contract import Contract
from schemas.evaluation import Evaluation
from schemas.profile import Profile
from schemas.promotion import Verdict
from schemas.stages import IngestResult, TrainResult, Tuned
from tasks.drift.references import Comparison
from tasks.encoders.base import Array
from tasks.findings.findings import Findings
from tasks.findings.network import Network
from tasks.metrics import Scored
from tasks.tuning.record import Study


@dataclass(frozen=True)
class Content:
    """What evaluate has found."""

    name: str
    """The model's name."""
    champion_version: str | None
    """The champion's version in the registry, if there is one."""
    scored: dict[str, Scored]
    """Predictions beside the truth, by split; without validation where the network was refitted on its rows."""
    metrics: dict[str, dict[str, float]]
    """The challenger's metrics, by split."""
    champion_metrics: dict[str, float] | None
    """The champion's metrics on the test rows."""
    verdict: Verdict
    """Whether the challenger should replace the champion."""
    history: dict[str, Any]
    """What train has published as history.json: losses and metrics by epoch, best_epoch."""
    profile: Profile
    """The columns of the accepted rows."""
    contract: Contract
    """What a row must look like."""
    ingest: IngestResult
    """How many rows went where."""
    train: TrainResult
    """What was trained."""
    champion: Scored | None = None
    """The champion's predictions of the test rows."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """How the network is judged."""
    drift: Comparison | None = None
    """The rows beside those that the champion was made from."""
    findings: Findings = field(default_factory=Findings)
    """Slices, importance and the like."""
    network: Network = field(default_factory=Network)
    """What the network is made of."""
    tuning: Study | None = None
    """The trials by which the settings were found, if they were tuned for this network."""
    tuned: Tuned | None = None
    """How they were found, if they were tuned for an earlier version."""
    lineage: tuple[tuple[str, str, str], ...] = ()
    """What it all came from: a name, a run key or version, a digest."""

    @property
    def test(self) -> Scored:
        """The challenger's predictions of the test rows."""
        return self.scored["test"]


def weights(scored: Scored) -> Array:
    """Return what each row weighs, shape (n,): 1 where there are no weights."""
    return np.ones(len(scored.truth)) if scored.weight is None else scored.weight
