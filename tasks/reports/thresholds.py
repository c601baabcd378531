"""At which probability to call a row positive, by what wrong decisions cost.

The threshold is chosen on the validation rows, and what it costs is told of the test rows: on the rows that it was
chosen on, it looks better than it is. A network that was refitted on the validation rows leaves none to choose it on.
"""

from dataclasses import dataclass

import numpy as np

from schemas.evaluation import Costs
from tasks.encoders.base import Array
from tasks.reports import drawing
from tasks.reports.confusion import Rates
from tasks.reports.elements import Plot, Table
from tasks.reports.formatting import number

DEFAULT = 0.5


@dataclass(frozen=True)
class Counts:
    """What is called positive from each threshold up; arrays of shape (k,), weights of rows."""

    threshold: Array
    """Descending: above all scores, then each score that occurs."""
    true_positive: Array
    false_positive: Array
    positive: float
    negative: float

    @classmethod
    def of(cls, truth: Array, probability: Array, weight: Array) -> "Counts":
        """Count rows of zeros and ones, all arrays of shape (n,)."""
        order = np.argsort(-probability, kind="stable")
        scores = probability[order]
        last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else np.zeros(0, int)
        hit, all_ = np.cumsum((weight * truth)[order])[last], np.cumsum(weight[order])[last]
        return cls(
            threshold=np.concatenate([[np.inf], scores[last]]),
            true_positive=np.concatenate([[0.0], hit]),
            false_positive=np.concatenate([[0.0], all_ - hit]),
            positive=float(weight @ truth),
            negative=float(weight @ (1 - truth)),
        )

    def cost(self, costs: Costs) -> Array:
        """Return the cost of each threshold for one row on average."""
        missed = self.positive - self.true_positive
        total = costs.false_positive * self.false_positive + costs.false_negative * missed
        return total / (self.positive + self.negative)

    @property
    def f1(self) -> Array:
        """2TP / (2TP + FP + FN) of each threshold."""
        decided = self.true_positive + self.false_positive
        return 2 * self.true_positive / np.maximum(decided + self.positive, np.finfo(float).tiny)

    def at(self, threshold: float) -> int:
        """Return the position of what is called positive from a threshold up."""
        return int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1


def cheapest(counts: Counts, costs: Costs) -> float:
    """Return the threshold of least cost; of several, the one nearest to 0.5. 1 is where nothing is worth calling."""
    return _least(counts, counts.cost(costs))


def _least(counts: Counts, values: Array) -> float:
    thresholds = np.minimum(counts.threshold, 1.0)
    tied = thresholds[values <= values.min() + 1e-12]
    return float(tied[np.argmin(np.abs(tied - DEFAULT))])


def table(test: Counts, validation: Counts | None, costs: Costs) -> Table:
    """Return what some thresholds, chosen without the test rows, mean for these."""
    total = test.positive + test.negative
    rows = []
    for name, threshold in _choices(validation, costs).items():
        at = test.at(threshold)
        hit, false = test.true_positive[at : at + 1], test.false_positive[at : at + 1]
        rates = Rates.of(actual=np.array([test.positive]), decided=hit + false, hit=hit, total=total)
        wrong = (number(round(float(false[0]))), number(round(test.positive - float(hit[0]))))
        rows.append((name, number(threshold), *rates.row(0), *wrong, number(1000 * float(test.cost(costs)[at]))))
    return Table(
        title="Where to cut",
        header=(
            "threshold", "at", "precision", "recall", "specificity", "F1", "false positives", "false negatives",
            "cost per 1,000 rows",
        ),
        rows=tuple(rows),
        caption=f"A false positive costs {costs.false_positive:g} and a false negative {costs.false_negative:g} "
        "(evaluation.costs). Predictions come with their probability, and their label is cut at 0.5.",
    )  # fmt: skip


def _choices(validation: Counts | None, costs: Costs) -> dict[str, float]:
    fair = costs.false_positive / (costs.false_positive + costs.false_negative)
    choices = {"as it is": DEFAULT}
    if validation is not None and validation.positive and validation.negative:
        choices["cheapest on validation"] = cheapest(validation, costs)
        choices["best F1 on validation"] = _least(validation, -validation.f1)
    if fair != DEFAULT:
        choices["by the costs, if calibrated"] = fair
    return choices


def plot(test: Counts, validation: Counts | None, costs: Costs) -> Plot:
    """Draw the mean cost of a row over the thresholds, of validation, if there is one to choose on, and test."""
    figure = drawing.canvas(drawing.FULL, 300)
    axes = figure.subplots()
    data: dict[str, list[Array]] = {"threshold": [], "cost": []}
    splits = []
    for name, counts, colour, line in (
        *([("validation", validation, drawing.ORANGE, (0, (5, 1.5)))] if validation else []),
        ("test", test, drawing.BLUE, "-"),
    ):
        thresholds, cost = drawing.thinned(np.minimum(counts.threshold, 1.0), counts.cost(costs))
        axes.plot(thresholds, cost, drawstyle="steps-post", color=colour, linestyle=line, label=name)
        data["threshold"].append(thresholds)
        data["cost"].append(cost)
        splits += [name] * len(cost)
    axes.axvline(DEFAULT, color=drawing.INK, linewidth=0.8, linestyle=":")
    caption = "The dotted line is 0.5."
    if validation:
        chosen = cheapest(validation, costs)
        label = f"cheapest, {chosen:.3g}"
        axes.plot([chosen], [test.cost(costs)[test.at(chosen)]], "o", color=drawing.BLUE, label=label)
        caption = (
            "The point is the threshold that is cheapest on the validation rows, and what it costs on the test rows. "
            f"{caption}"
        )
    axes.set(xlabel="threshold", ylabel="mean cost of a row", xlim=(-0.02, 1.02))
    axes.set_ylim(bottom=0)
    axes.legend()
    columns = {"split": splits, **{name: np.concatenate(values) for name, values in data.items()}}
    return Plot("costs", "Costs by threshold", figure, columns, caption)
