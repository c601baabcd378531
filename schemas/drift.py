"""Drift: the part of the spec about it, and what a comparison of two data sets comes to."""

from typing import Annotated, Literal

from pydantic import Field

from schemas.document import Document

MEASURES = {
    "kolmogorov_smirnov": "Kolmogorov–Smirnov",
    "wasserstein": "Wasserstein",
    "jensen_shannon": "Jensen–Shannon",
    "missing_rate": "missing values",
    "unknown_rate": "unknown categories",
}
"""The measures of effects by their names in drift.json: distances, and changes of rates."""

Role = Literal["feature", "target", "prediction"]
Bound = Annotated[float, Field(gt=0, le=1)]


class Drift(Document):
    """When new data counts as different from what the champion was trained on.

    A column has drifted when a test says that chance does not explain the difference, and the difference is large
    enough to matter: among a million rows, the first alone would find drift everywhere.
    """

    significance: float = Field(default=0.01, gt=0, lt=1)
    """The share of false alarms that is tolerated among the differences found (Benjamini and Hochberg, 1995)."""
    distance: Bound = 0.1
    """Numbers: the smallest Kolmogorov-Smirnov statistic, or Wasserstein distance in standard deviations of the
    reference, that matters. Categories: the smallest Jensen-Shannon distance, from 0 (alike) to 1."""
    rate: Bound = 0.05
    """The smallest change of the share of missing values, or of categories that the reference does not name."""
    ignore: tuple[str, ...] = ()
    """Columns that may change as they like: they are compared with nothing."""
    tolerated: float = Field(default=0.0, ge=0, lt=1)
    """The share of the features that may drift before the data counts as drifted. A drift of the target or of the
    predictions always counts."""


class Change(Document):
    """One thing about a column that was compared."""

    what: Literal["distribution", "missing", "unknown"]
    """The distribution of its values, the rate of missing ones, or of categories that the reference does not name."""
    p_value: float
    """How likely chance alone makes so large a difference, by this test alone."""
    adjusted: float
    """The same with regard to all tests of the comparison (Benjamini and Hochberg, 1995)."""
    effects: dict[str, float]
    """How large the difference is, by name of the measure; a rate that falls is below 0."""
    size: float
    """The largest of the effects, in units of its bound in the spec: from 1 on it matters."""
    drifted: bool
    """Whether chance does not explain it, and it matters."""

    @property
    def said(self) -> str:
        """The effects in words."""
        return ", ".join(f"{MEASURES[name]} {_said(name, value)}" for name, value in self.effects.items())


def _said(measure: str, value: float) -> str:
    return f"{100 * value:+.1f} points" if measure.endswith("_rate") else f"{value:.3g}"


class ColumnDrift(Document):
    """One column, then and now."""

    name: str
    """The column."""
    role: Role
    """What it is for the model."""
    changes: tuple[Change, ...]
    """What was compared."""

    @property
    def drifted(self) -> bool:
        """Whether any of it drifted."""
        return any(change.drifted for change in self.changes)

    @property
    def main(self) -> Change:
        """The change that matters most."""
        return max(self.changes, key=lambda change: (change.drifted, change.size))


class DriftSummary(Document):
    """What a comparison comes to."""

    drifted: bool
    """Whether the data counts as drifted."""
    reason: str
    """Why, in one sentence."""
    features: tuple[str, ...] = ()
    """The features that drifted, the worst first."""
    share: float = 0.0
    """Their share of the features compared."""
    targets: tuple[str, ...] = ()
    """The target's columns that drifted."""
    predictions: tuple[str, ...] = ()
    """The predictions that drifted."""
    worst: str | None = None
    """The column that drifted most."""


class DriftReport(Document):
    """New data beside what a champion was trained on: the content of drift.json."""

    rows: int
    """How many new rows there are."""
    reference_rows: int
    """How many rows the champion's data had."""
    columns: tuple[ColumnDrift, ...]
    """What was compared: features, targets, predictions."""
    notes: tuple[str, ...] = ()
    """What was not compared, and why."""
    summary: DriftSummary
    """What it comes to."""

    @property
    def ordered(self) -> list[ColumnDrift]:
        """The columns, those that drifted first and the largest differences first."""
        return sorted(self.columns, key=lambda each: (not each.drifted, -each.main.size))
