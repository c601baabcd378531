"""The part of a spec about promotion: what a new version has to prove before predictions use it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schemas.document import Document

Fall = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class PromotionSlices(Document):
    """Parts of the test rows on which a challenger may not do worse than the champion."""

    columns: tuple[str, ...] = Field(min_length=1)
    """Columns of the source by whose values the test rows are taken apart; they need not be features."""
    tolerance: Fall = 0.0
    """How much worse than the champion's the deciding metric may be on a slice, in the metric's own units."""
    minimum_rows: int = Field(default=100, ge=1)
    """Smaller slices are left out: on few rows a metric says little."""


class Leakage(Document):
    """When a model is too good to be true: a column is known that will not be known when predictions are made."""

    column: float | None = Field(default=0.99, gt=0, lt=1)
    """The share of the target's variance (of classes and labels that of all their indicators together, of several
    outputs the largest) that a single column may explain on test rows, by a decision tree on it alone; null for no
    limit."""
    model: float | None = Field(default=0.9999, gt=0, lt=1)
    """The share that the network's predictions may explain; null for no limit."""


class DriftGuard(Document):
    """How far the data may have moved from the champion's before a person has to look."""

    share: float = Field(default=0.5, ge=0, le=1)
    """The share of the features that may have drifted, by what `drift` says counts."""
    then: Literal["approve", "refuse"] = "approve"
    """Beyond that: approve waits for a person, as promote: approve does; refuse does not promote."""


class Promotion(Document):
    """What a challenger has to prove before it becomes champion, and who has the last word."""

    promote: Literal["auto", "approve", "never"] = "auto"
    """auto: a challenger that passes every check becomes champion. approve: a person has the last word, in the Prefect
    UI or by `evermodel promote`. never: versions are registered, and people promote them."""
    minimum_gain: Fall = 0.0
    """How much better than the champion's the deciding metric must be on the same test rows, in its own units; it must
    be better by more than this."""
    margin: Fall | None = None
    """In place of a gain: promote what is not worse by this much or more (non-inferiority), for models that are
    replaced to be fresh."""
    confidence: float | None = Field(default=0.95, gt=0.5, lt=1)
    """How sure the gain has to be: that share of the resamples of the test rows (paired bootstrap, one-sided) must
    show it. null compares the two values alone, and swaps equally good models by chance."""
    resamples: int = Field(default=1000, ge=100, le=100_000)
    """How many resamples prove it."""
    guards: dict[str, Fall] = Field(default_factory=dict)
    """Metrics beside the deciding one, and by how much each may be worse than the champion's: `{recall: 0.02}`."""
    required: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Values that metrics have to reach on the test rows, of a first version too: `{r2: 0.3}` is at least 0.3, and
    `{mean_absolute_error: 50}`, where less is better, at most 50. Where labels are broken a champion is no help: on
    such rows it is bad as well."""
    slices: PromotionSlices | None = None
    """Parts of the test rows on which a challenger may not do worse."""
    leakage: Leakage | None = Field(default_factory=Leakage)
    """When a model is too good to be true; null for never."""
    drift: DriftGuard | None = Field(default_factory=DriftGuard)
    """How far the data may have moved before a person has to look; null for however far."""
    smoke: int = Field(default=20, ge=0, le=200)
    """Test rows that the registered model has to predict as in evaluation, loaded by a process of its own; 0 for no
    such test."""
    timeout_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    """How long an approval is waited for; then the version is not promoted."""
    seed: int = Field(default=0, ge=0)
    """Seed of the resamples."""

    @model_validator(mode="after")
    def _as_asked(self) -> Self:
        if self.margin is not None and self.minimum_gain:
            raise ValueError("minimum_gain and margin contradict each other: ask for a gain, or allow a loss")
        if self.margin == 0:
            raise ValueError("margin must be above 0; for a challenger that has to be better leave it out")
        return self

    @property
    def needed(self) -> float:
        """What the gain has to exceed, in units of the deciding metric: minimum_gain, or less margin."""
        return self.minimum_gain if self.margin is None else -self.margin


OUTSIDE_VERDICT: dict[str, Any] = {"promote": True, "timeout_hours": True, "smoke": True}
"""Keys of a promotion that no evaluation depends on (as pydantic's `exclude`)."""


class Check(Document):
    """One thing that a challenger had to prove, and whether it did."""

    name: str
    """What was looked at, such as gain, guard recall or slice sex=f."""
    passed: bool
    """Whether it is as wanted."""
    asks: bool = False
    """If it is not, whether a person may let it pass: the version then waits for approval."""
    value: float | None = None
    """What was found."""
    wanted: float | None = None
    """The limit that it is held against."""
    sentence: str
    """Both in words, with the numbers."""


class Verdict(Document):
    """Whether the challenger should replace the champion."""

    better: bool
    """Whether it should: it passes every check but for those that a person may let pass."""
    reason: str
    """Why, in one sentence with the numbers."""
    metric: str
    """The metric that decides."""
    challenger: float
    """The challenger's value on the test rows."""
    champion: float | None = None
    """The champion's value on the same rows."""
    checks: tuple[Check, ...] = ()
    """What the challenger had to prove, each with its numbers."""
