"""The part of a spec about evaluation: how a network is judged."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.document import Document
from schemas.named import Metric


class Costs(Document):
    """What wrong decisions cost, in any unit: for the choice of a threshold."""

    false_positive: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What it costs to take a negative for a positive."""
    false_negative: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """What it costs to miss a positive."""


Share = Annotated[float, Field(gt=0, lt=1)]


class Evaluation(Document):
    """How the trained network is judged, and what the report shows beside the metrics."""

    metric: Metric | None = None
    """The metric that a challenger must win by; by default root_mean_squared_error for regressions, roc_auc for binary
    and (the mean over labels) multilabel, accuracy for multiclass."""
    metrics: tuple[Metric, ...] = ()
    """Metrics to compute beside those that are computed of every run."""
    costs: Costs | None = None
    """Binary and multilabel: what the report's choice of a threshold rests on; by default both mistakes cost 1."""
    slices: tuple[str, ...] | None = None
    """Columns of the source by whose values the report takes the test rows apart; they need not be features. By
    default the three most important features, categories first; an empty list for none."""
    bootstrap: int = Field(default=200, ge=0, le=10_000)
    """Resamples behind each 95 % interval; 0 for no intervals."""
    importance: int = Field(default=3, ge=0, le=100)
    """How often each column is shuffled to see how much worse the predictions get; 0 for not at all."""
    worst: int = Field(default=10, ge=0, le=1000)
    """How many of the worst predicted test rows the report shows, with their values."""
    refits: int = Field(default=0, ge=0, le=1000)
    """Networks trained anew on resampled training rows, for an estimate of bias² and variance. Each costs as much as
    the training itself; 0 for no estimate, 10 give a fair one."""
    data_sizes: tuple[Share, ...] = ()
    """Shares of the training rows, such as [0.1, 0.3], to train on anew: the report then shows what more rows bring."""
    seed: int = Field(default=0, ge=0)
    """Seed of resampling, shuffling and refits."""

    @model_validator(mode="after")
    def _as_asked(self) -> Self:
        if self.refits == 1:
            raise ValueError("refits must be 0, or 2 and more: one network shows no variance")
        if self.slices and len(set(self.slices)) < len(self.slices):
            raise ValueError("slices must be distinct")
        return self

    @property
    def wanted(self) -> tuple[Metric, ...]:
        """All metrics that are named, the deciding one among them."""
        return self.metrics if self.metric is None else (*self.metrics, self.metric)

    @property
    def trains(self) -> bool:
        """Whether networks are trained for it."""
        return bool(self.refits or self.data_sizes)
