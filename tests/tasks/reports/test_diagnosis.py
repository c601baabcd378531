import numpy as np
import pytest
from sklearn.datasets import load_digits, make_friedman1
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from schemas.evaluation import Evaluation
from tasks import metrics
from tasks.findings.network import Network
from tasks.findings.refits import Size
from tasks.metrics import Scored
from tasks.reports.diagnosis import diagnose, trivial_prediction

NETWORK = Network(hidden=(64, 32))
HISTORY = {"loss": [3.0, 2, 1.9], "validation_loss": [3.0, 2, 2.5], "best_epoch": 2}


def diagnosed(train, validation, *, metric, history=HISTORY, network=NETWORK, sizes=(), **evaluation):
    scored = {"train": train, "validation": validation}
    measured = {split: metrics.compute(each) for split, each in scored.items()}
    evaluation = Evaluation(**{"bootstrap": 0, **evaluation})
    return diagnose(
        scored, measured, metric=metric, history=history, network=network, evaluation=evaluation, sizes=sizes
    )


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
    assert found.verdict == "just right"
    assert "large enough for what the columns hold" in found.reason


def test_small_gap_is_no_comfort_when_the_rows_were_learned_by_heart():
    """R33: early stopping keeps an epoch that knows hardly anything; the curves say that the network is too large."""
    history = {"loss": [1.0, 0.8, 0.1], "validation_loss": [1.0, 0.95, 1.8], "best_epoch": 2}
    found = diagnosed(regression(0.9), regression(0.95), metric="r2", history=history)
    assert found.verdict == "overfitting"
    assert "after epoch 2, whose weights were kept, the training loss fell by 87.5\u00a0%" in found.reason
    assert "the validation loss rose by 89.5\u00a0%" in found.reason


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
    ("train", "best_epoch", "network", "suggestion"),
    [
        (0.05, 2, NETWORK, {"network.dropout": 0.2}),
        (0.05, 2, Network(hidden=(64,), dropout=0.3), {"network.dropout": 0.5}),
        (0.05, 2, Network(hidden=(64, 5), dropout=0.5), {"network.hidden": [32, 3]}),
        (0.05, 2, Network(dropout=0.5), {"network.l2": 0.01}),
        (0.80, 2, NETWORK, {"network.hidden": [128, 64]}),
        (0.80, 2, Network(), {"network.hidden": [32]}),
        (0.80, 2, Network(hidden=(64,), dropout=0.4), {"network.dropout": 0.2}),
        (0.80, 2, Network(hidden=(4096,)), {}),
        (0.80, 3, NETWORK, {"training.epochs": 6}),
    ],
)
def test_next_step_is_one_key_of_the_spec_that_changes_the_present_network(train, best_epoch, network, suggestion):
    """R33."""
    history = {**HISTORY, "best_epoch": best_epoch}
    found = diagnosed(regression(train), regression(0.9), metric="r2", history=history, network=network)
    assert found.suggestion == suggestion


def test_a_fair_network_is_followed_by_the_question_whether_more_rows_help():
    fair = regression(0.1)
    assert diagnosed(fair, fair, metric="r2").suggestion == {"evaluation.data_sizes": [0.25, 0.5]}


@pytest.mark.parametrize(
    ("before", "said"), [(0.80, "fell by 50.0\u00a0%: more rows are what"), (0.899, "hardly fell: better columns")]
)
def test_what_more_rows_have_brought_is_said(before, said):
    fair = regression(0.1)
    sizes = (Size(500, 0.95, before), Size(1_000, 0.95, 0.90))
    found = diagnosed(fair, fair, metric="r2", sizes=sizes)
    assert found.suggestion == {}
    assert f"From 500 to 1,000 rows the validation error {said}" in found.advice


def test_gap_has_an_interval_that_narrows_with_the_rows():
    """R33: the gap of 0.3 lies inside, and four times the validation rows about halve the width."""
    random = np.random.default_rng(0)

    def noisy(left, rows):
        truth = random.normal(size=(rows, 1))
        return Scored("regression", ("y",), truth, truth + np.sqrt(left) * random.normal(size=truth.shape))

    few, many = (
        diagnosed(noisy(0.1, 5_000), noisy(0.4, rows), metric="root_mean_squared_error", bootstrap=400).gap
        for rows in (250, 1_000)
    )
    for gap in (few, many):
        assert gap.low < 0.3 < gap.high
        assert gap.low < gap.left < gap.high
    assert 1.5 < (few.high - few.low) / (many.high - many.low) < 2.7


def test_gap_that_may_be_chance_is_said_so():
    random = np.random.default_rng(3)
    truth = random.normal(size=(8, 1))
    few = Scored(
        "regression", ("y",), truth, truth + 0.8 * random.normal(size=truth.shape) * (np.arange(8) == 3)[:, None]
    )
    found = diagnosed(regression(0.05), few, metric="r2", bootstrap=200)
    if found.verdict == "overfitting":
        assert "It holds 0: on so few rows the gap may be chance" in found.reason


def test_few_validation_rows_are_called_a_hint():
    found = diagnosed(regression(0.1), regression(0.1, rows=20), metric="r2")
    assert "With 20 validation rows this is a hint" in found.reason
