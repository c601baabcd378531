"""The record of a tuning, as it is published: study.json."""

import csv
import json
from pathlib import Path
from typing import Literal

from schemas.document import Document
from schemas.tuning import Settings

State = Literal["complete", "pruned", "failed"]


class Outcome(Document):
    """What became of a trial."""

    state: State
    """complete: trained to its end. pruned: ended early, for it was worse than others. failed: see its reason."""
    validation_loss: float | None = None
    """The validation loss of its best epoch; null if there is none."""
    metric: float | None = None
    """The value of tuning.metric with that epoch's weights, if the spec names one and the trial came to its end."""
    best_epoch: int = 0
    """The epoch whose weights were kept, from 1; of a trial that was ended early, the one with the lowest loss."""
    epochs: int = 0
    """How many epochs were trained."""
    reason: str = ""
    """Why it failed or was ended."""


class Trial(Outcome):
    """A trial: its settings, and what became of it."""

    number: int
    """From 1, which is the spec as it stands."""
    settings: Settings
    """What was other than in the spec, by dotted key."""


class Study(Document):
    """All trials of a tuning, and what they tell."""

    trials: tuple[Trial, ...]
    """In the order in which they began."""
    metric: str | None = None
    """What trials were compared by, as reports name it; null for the validation loss."""
    best: int
    """The number of the best one among those that came to their end."""
    own: Settings
    """The spec's own settings, by the keys that were varied."""
    importances: dict[str, float]
    """What share of the differences in loss each key accounts for, the largest first; empty for too few trials."""

    def measure(self, trial: Trial) -> float | None:
        """Return what a trial was compared by; None if it did not come so far."""
        return trial.metric if self.metric else trial.validation_loss

    @property
    def chosen(self) -> Trial:
        """The best trial."""
        return next(trial for trial in self.trials if trial.number == self.best)  # one may be missing when time ended

    def count(self, state: State) -> int:
        """Return how many trials ended so."""
        return sum(trial.state == state for trial in self.trials)

    def write_table(self, path: Path) -> None:
        """Write one row a trial as CSV: its number, state, losses, epochs, settings and reason."""
        with path.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            named = [self.metric] if self.metric else []
            rows.writerow(("trial", "state", "validation_loss", *named, "best_epoch", "epochs", *self.own, "reason"))
            for trial in self.trials:
                measured = [trial.metric] if self.metric else []
                said = (trial.number, trial.state, trial.validation_loss, *measured, trial.best_epoch, trial.epochs)
                settings = {**self.own, **trial.settings}
                rows.writerow((*said, *(_cell(settings[key]) for key in self.own), trial.reason))


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value
