"""R40: how much of a target a column tells."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_iris

from tasks.promotion.leakage import alone, explained

IRIS = load_iris()
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
ROWS = {name: values.astype(np.float64) for name, values in zip(FEATURES, IRIS.data.T, strict=True)}
ODD = np.arange(len(IRIS.target)) % 2 == 1


def share(values: np.ndarray, targets: np.ndarray, *, apart: bool) -> float:
    train, test = (pa.table({"column": values[rows]}) for rows in (~ODD, ODD))
    return alone(train, test, "column", targets[~ODD], targets[ODD], apart=apart)


@pytest.mark.parametrize("name", FEATURES)
def test_a_column_that_tells_one_class_of_three_is_no_leak(name: str) -> None:
    """Petals tell setosa from the other two without fail."""
    assert share(ROWS[name], np.eye(3)[IRIS.target], apart=False) < 0.95


def test_a_column_that_tells_all_classes_is_one() -> None:
    assert share(7.0 - IRIS.target, np.eye(3)[IRIS.target], apart=False) == pytest.approx(1)


def test_a_network_that_never_misses_one_label_of_two_may_be_honest() -> None:
    truth = np.random.default_rng(0).integers(2, size=(200, 2)).astype(float)
    said = np.column_stack([truth[:, 0], np.full(200, 0.5)])
    assert explained(truth, said, apart=False) == pytest.approx(0.5, abs=0.05)
    assert explained(truth, truth, apart=False) == 1


def test_a_column_that_tells_one_output_of_two_is_a_leak() -> None:
    outputs = np.column_stack([np.arange(150) / 150, np.random.default_rng(0).random(150)])
    assert share(np.exp(outputs[:, 0]), outputs, apart=True) > 0.99


def test_a_target_without_spread_is_not_explained() -> None:
    assert explained(np.ones((5, 2)), np.ones((5, 2)), apart=False) == 0
