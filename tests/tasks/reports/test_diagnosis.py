import numpy as np
import pytest
from sklearn.datasets import load_digits, make_friedman1
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from tasks import metrics
from tasks.metrics import Scored
from tasks.reports.diagnosis import diagnose, trivial_prediction

HISTORY = {"loss": [3.0, 2, 1.9], "validation_loss": [3.0, 2, 2.5], "best_epoch": 2}


def diagnosed(train, validation, *, metric, history=HISTORY, parameters=1_000):
    scored = {"train": train, "validation": validation}
    measured = {split: metrics.compute(each) for split, each in scored.items()}
    return diagnose(scored, measured, metric=metric, history=history, parameters=parameters)


def regression(left, rows=1_000):
    """Predictions that leave this share of the target's variance."""
    noise = np.tile([1.0, -1.0, -1.0, 1.0], rows // 4)[:, None] * np.sqrt(left)
    truth = np.tile([1.0, 1.0, -1.0, -1.0], rows // 4)[:, None]
    return Scored("regression", ("y",), truth, truth - noise)


@pytest.mark.parametrize(
    ("train", "validation", "verdict"),
    [
        (0.05, 0.08, "just right"),
        (0.40, 0.45, "just right"),
        (0.05, 0.40, "overfitting"),
        (0.60, 1.20, "overfitting"),
        (0.80, 0.85, "underfitting"),
        (0.80, 0.60, "underfitting"),
    ],
)
def test_verdict_rests_on_the_share_of_the_trivial_error_that_is_left(train, validation, verdict):
    """R33."""
    found = diagnosed(regression(train), regression(validation), metric="root_mean_squared_error")
    assert found.verdict == verdict
    assert (found.train.left, found.validation.left) == pytest.approx((train, validation))


def test_high_error_is_no_underfitting_when_more_training_only_memorises():
    """R33."""
    history = {"loss": [3.0, 2, 1], "validation_loss": [3.0, 2, 2.5], "best_epoch": 2}
    found = diagnosed(regression(0.6), regression(0.65), metric="r2", history=history)
    assert (found.verdict, found.suggestion) == ("just right", {})
    assert "large enough for what the columns hold" in found.reason


def friedman(model, *, noise, rows):
    features, target = make_friedman1(3 * rows, noise=noise, random_state=0)
    model.fit(features[:rows], target[:rows])
    predicted = model.predict(features)
    return (
        Scored("regression", ("y",), target[part, None], predicted[part, None])
        for part in (slice(0, rows), slice(rows, None))
    )


@pytest.mark.parametrize(
    ("model", "noise", "rows", "verdict"),
    [
        (DecisionTreeRegressor(max_depth=1), 0.0, 1_000, "underfitting"),
        (DecisionTreeRegressor(random_state=0), 3.0, 200, "overfitting"),
        (DecisionTreeRegressor(max_depth=6, min_samples_leaf=10, random_state=0), 0.5, 5_000, "just right"),
    ],
)
def test_verdict_is_right_for_real_models(model, noise, rows, verdict):
    """R33: a stump on a hard problem, a full tree on 200 noisy rows, and a fair tree on many."""
    train, validation = friedman(model, noise=noise, rows=rows)
    assert diagnosed(train, validation, metric="root_mean_squared_error").verdict == verdict


def test_good_classifier_is_just_right():
    digits = load_digits()
    probability = LogisticRegression(C=0.001, max_iter=500).fit(digits.data[::2], digits.target[::2])
    names = tuple(map(str, range(10)))
    train, validation = (
        Scored("multiclass", names, digits.target[part], probability.predict_proba(digits.data[part]))
        for part in (slice(0, None, 2), slice(1, None, 2))
    )
    found = diagnosed(train, validation, metric="accuracy")
    assert (found.verdict, found.metric) == ("just right", "accuracy")
    assert found.train.trivial == pytest.approx(np.bincount(digits.target[::2]).max() / len(digits.target[::2]))


def test_trivial_prediction_knows_the_training_rows_alone():
    train = Scored("binary", ("no", "yes"), np.array([0, 0, 0, 1]), np.zeros((4, 2)), np.array([1.0, 1, 1, 3]))
    validation = Scored("binary", ("no", "yes"), np.array([1, 1]), np.zeros((2, 2)))
    assert trivial_prediction(validation, train).predicted.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_undefined_metric_gives_way_to_the_log_loss():
    scored = Scored("binary", ("no", "yes"), np.array([1, 1, 1, 0]), np.array([[0.2, 0.8]] * 4))
    only_one = Scored("binary", ("no", "yes"), np.array([1, 1]), np.array([[0.2, 0.8]] * 2))
    assert diagnosed(scored, only_one, metric="roc_auc").metric == "log_loss"


def test_target_that_does_not_vary_has_no_diagnosis():
    flat = Scored("regression", ("y",), np.ones((4, 1)), np.ones((4, 1)))
    assert diagnosed(flat, flat, metric="r2") is None


@pytest.mark.parametrize(
    ("train", "best_epoch", "suggestion"),
    [
        (0.05, 2, {"network.dropout": 0.2}),
        (0.80, 2, {"network.hidden": [128, 64]}),
        (0.80, 3, {"training.epochs": 6}),
    ],
)
def test_next_step_is_said_as_spec_keys(train, best_epoch, suggestion):
    """R33."""
    history = {**HISTORY, "best_epoch": best_epoch}
    found = diagnosed(regression(train), regression(0.9), metric="r2", history=history)
    assert found.suggestion == suggestion


@pytest.mark.parametrize("parameters", [1_000, 8_192, 100_000, 10**9])
def test_suggested_network_is_larger_than_the_present_one(parameters):
    found = diagnosed(regression(0.8), regression(0.8), metric="r2", parameters=parameters)
    hidden = found.suggestion.get("network.hidden")
    assert (hidden is None) == (parameters == 10**9)
    assert hidden is None or hidden[0] * hidden[1] > parameters


def test_few_validation_rows_are_called_a_hint():
    found = diagnosed(regression(0.1), regression(0.1, rows=20), metric="r2")
    assert "With 20 validation rows this is a hint" in found.reason
