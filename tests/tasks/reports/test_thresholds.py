"""Where to cut probabilities, by what wrong decisions cost."""

import numpy as np
import pytest

from schemas.evaluation import Costs
from tasks.reports.thresholds import Counts, cheapest

TRUTH = np.array([0, 0, 1, 0, 1, 1])
PROBABILITY = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.7])
COUNTS = Counts.of(TRUTH, PROBABILITY, np.ones(6))


def test_counts_are_those_of_each_threshold():
    assert COUNTS.threshold.tolist() == [np.inf, 0.7, 0.6, 0.3, 0.2, 0.1]
    assert COUNTS.true_positive.tolist() == [0, 2, 2, 3, 3, 3]
    assert COUNTS.false_positive.tolist() == [0, 0, 1, 1, 2, 3]
    assert (COUNTS.positive, COUNTS.negative) == (3, 3)


@pytest.mark.parametrize(("threshold", "position"), [(0.75, 0), (0.7, 1), (0.65, 1), (0.6, 2), (0.05, 5)])
def test_what_is_called_positive_from_a_threshold_up(threshold, position):
    assert COUNTS.at(threshold) == position


@pytest.mark.parametrize(
    ("costs", "threshold", "cost"),
    [
        (Costs(), 0.7, 1 / 6),
        (Costs(false_negative=5), 0.3, 1 / 6),
        (Costs(false_positive=5), 0.7, 1 / 6),
        (Costs(false_positive=0.1, false_negative=100), 0.3, 0.1 / 6),
    ],
)
def test_cheapest_threshold_weighs_both_mistakes(costs, threshold, cost):
    assert cheapest(COUNTS, costs) == threshold
    assert COUNTS.cost(costs)[COUNTS.at(threshold)] == pytest.approx(cost)


def test_weights_count_as_rows():
    weighted = Counts.of(TRUTH, PROBABILITY, np.array([1.0, 1, 0, 1, 1, 1]))
    assert cheapest(weighted, Costs(false_negative=5)) == 0.7


def test_nothing_is_called_where_no_row_is_positive():
    assert cheapest(Counts.of(np.zeros(3, int), np.array([0.2, 0.4, 0.9]), np.ones(3)), Costs()) == 1
