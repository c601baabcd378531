import math

import numpy as np
import pytest

from schemas.errors import SpecError
from tasks import metrics
from tasks.metrics import Scored

# R20: eight rows, TP 3, FP 1, FN 2, TN 2.
TRUTH = np.array([1, 1, 1, 1, 1, 0, 0, 0])
POSITIVE = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.6, 0.2, 0.1])


def binary(truth=TRUTH, positive=POSITIVE, weight=None):
    return Scored("binary", ("no", "yes"), truth, np.column_stack([1 - positive, positive]), weight)


@pytest.mark.parametrize(
    ("metric", "by_hand"),
    [
        ("accuracy", 5 / 8),
        ("precision", 3 / 4),
        ("recall", 3 / 5),
        ("specificity", 2 / 3),
        ("balanced_accuracy", (3 / 5 + 2 / 3) / 2),
        ("f1", 6 / 9),
        ("roc_auc", 13 / 15),  # 0.6 is above two of the five positives; 15 pairs in all
    ],
)
def test_binary_figures_follow_from_the_confusion_matrix(metric, by_hand):
    """R20."""
    assert metrics.compute(binary())[metric] == pytest.approx(by_hand)


def test_regression_figures_by_hand():
    """R20: errors 1, -1, 2, 0 of the values 1, 2, 3, 6 with mean 3: squares 6 in all, against 4 + 1 + 0 + 9 = 14."""
    scored = Scored("regression", ("y",), np.array([[1.0], [2], [3], [6]]), np.array([[0.0], [3], [1], [6]]))
    assert metrics.compute(scored) == pytest.approx(
        {
            "mean_absolute_error": 1.0,
            "mean_squared_error": 1.5,
            "root_mean_squared_error": math.sqrt(1.5),
            "r2": 1 - 6 / 14,
        }
    )


def test_hamming_loss_of_five_samples_with_five_labels():
    """R21: 25 predictions, 8 of them wrong."""
    labels = ("SERVICE", "FOOD", "ANECDOTES", "PRICE", "AMBIENCE")
    truth, predicted = (
        np.array([[int(digit) for digit in row] for row in rows.split()])
        for rows in ("10000 01100 01000 01000 00100", "01000 11000 00010 01000 10000")
    )
    figures = metrics.compute(Scored("multilabel", labels, truth, predicted.astype(float)))
    assert figures["hamming_loss"] == pytest.approx(0.32)
    assert figures["subset_accuracy"] == pytest.approx(1 / 5)
    assert figures["f1_micro"] == pytest.approx(2 * 2 / (2 * 2 + 4 + 4))


def test_several_outputs_are_averaged_and_told_apart():
    truth = np.array([[1.0, 10], [3, 30]])
    figures = metrics.compute(Scored("multioutput_regression", ("a", "b"), truth, truth + np.array([1.0, 6])))
    assert (figures["mean_absolute_error[a]"], figures["mean_absolute_error[b]"]) == pytest.approx((1, 6))
    assert (figures["r2[a]"], figures["r2[b]"]) == pytest.approx((1 - 2 / 2, 1 - 72 / 200))
    assert figures["mean_absolute_error"] == pytest.approx(3.5)
    assert figures["root_mean_squared_error"] == pytest.approx((1 + 6) / 2)
    assert figures["mean_squared_error"] == pytest.approx((1 + 36) / 2)
    assert figures["r2"] == pytest.approx((0 + 0.64) / 2)


def test_weights_count_as_repeated_rows():
    """R32."""
    repeats = np.array([3, 1, 1, 2, 1, 1, 2, 1])
    weighted = metrics.compute(binary(weight=repeats.astype(float)))
    repeated = metrics.compute(binary(np.repeat(TRUTH, repeats), np.repeat(POSITIVE, repeats)))
    assert weighted == pytest.approx(repeated)


@pytest.mark.parametrize("metric", ["roc_auc", "pr_auc"])
def test_area_is_not_defined_without_positives(metric):
    assert math.isnan(metrics.compute(binary(np.zeros(8, int)))[metric])


def test_roc_auc_is_not_defined_when_only_one_class_weighs():
    assert math.isnan(metrics.compute(binary(weight=TRUTH.astype(float)))["roc_auc"])


def test_mean_roc_auc_leaves_out_labels_of_one_kind():
    truth = np.array([[0, 0], [1, 0], [1, 0]])
    scored = Scored("multilabel", ("a", "b"), truth, np.array([[0.1, 0.2], [0.7, 0.1], [0.9, 0.3]]))
    assert metrics.compute(scored)["roc_auc"] == 1


def test_f1_of_a_single_label_is_that_of_its_positives():
    truth, predicted = np.array([[1], [0], [1], [0]]), np.array([[0.9], [0.2], [0.4], [0.1]])
    figures = metrics.compute(Scored("multilabel", ("a",), truth, predicted))
    assert (figures["f1_micro"], figures["f1_macro"]) == pytest.approx((2 / 3, 2 / 3))


def test_classes_absent_from_the_rows_are_no_obstacle():
    scored = Scored("multiclass", ("a", "b", "c", "d"), np.array([0, 1]), np.array([[0.7, 0.1, 0.1, 0.1]] * 2))
    figures = metrics.compute(scored)
    assert figures["accuracy"] == 0.5
    assert figures["f1_macro"] == pytest.approx((2 / 3) / 4)


@pytest.mark.parametrize(
    ("metric", "better", "worse"),
    [("roc_auc", 0.9, 0.8), ("log_loss", 0.1, 0.2), ("mean_absolute_error[b]", 1, 2), ("r2[b]", 0.5, 0.1)],
)
def test_better_knows_the_direction_of_a_metric(metric, better, worse):
    assert metrics.better(metric, better, worse)
    assert not metrics.better(metric, worse, better)
    assert not metrics.better(metric, better, better)


def test_unknown_deciding_metric_is_refused_with_those_there_are():
    with pytest.raises(SpecError, match=r"no metric 'auc' for problem binary; there are roc_auc, "):
        metrics.deciding("auc", "binary", metrics.compute(binary()))
