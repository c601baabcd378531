"""R15-R20, R32: metrics that a spec names, from Keras and scikit-learn: each on each problem that it fits."""

import math
from typing import get_args

import numpy as np
import pytest
import sklearn.metrics as sk

from schemas import fits, names
from schemas.data import Problem
from schemas.errors import SpecError
from schemas.named import Metric
from tasks import metrics
from tasks.scored import Scored, sample

PROBLEMS = get_args(Problem)
REQUIRED = {
    "recall": 0.5,
    "precision": 0.5,
    "specificity": 0.5,
    "sensitivity": 0.5,
    "target_class_ids": [0, 1],
    "beta": 2.0,
}
# The largest error is the largest, whatever it weighs.
UNWEIGHTED = {"max_error"}

COUNTS = {
    "regression": 26,
    "multioutput_regression": 24,
    "binary": 52,
    "multilabel": 54,
    "multiclass": 58,
}


def fitting(problem: str) -> list[Metric]:
    """Every metric of Keras and scikit-learn that fits a problem, with the arguments that it must have."""
    found = []
    for library in ("metric", "score"):
        for entry in names.entries(library):
            given = {name: REQUIRED[name] for name in entry.required}
            wanted = Metric(name=entry.name, **given, **({"k": 2} if "k" in entry.arguments else {}))
            try:
                fits.metric(wanted.name, wanted.arguments, fits.said_by(problem, outputs=len(sample(problem).names)))
            except ValueError:
                continue
            found.append(wanted)
    return found


def computed(scored: Scored, *wanted: Metric) -> dict[str, float]:
    """The figures of what is wanted, without those of every run."""
    always = metrics.compute(scored)
    return {name: value for name, value in metrics.compute(scored, wanted).items() if name not in always}


def weighted(scored: Scored, repeats: np.ndarray, *, by_weight: bool) -> Scored:
    """The same rows with whole weights, or each as often as its weight says."""
    if by_weight:
        return Scored(scored.problem, scored.names, scored.truth, scored.predicted, repeats.astype(np.float64))
    return Scored(
        scored.problem,
        scored.names,
        np.repeat(scored.truth, repeats, axis=0),
        np.repeat(scored.predicted, repeats, axis=0),
    )


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_metric_that_fits_is_computed_and_weights_count_as_repeated_rows(problem):
    scored = sample(problem)
    wanted = [metric for metric in fitting(problem) if metric.name not in UNWEIGHTED]
    repeats = np.array([1, 3, 2, 1, 2, 1, 4, 1])[: len(scored.truth)]
    figures = computed(weighted(scored, repeats, by_weight=True), *wanted)
    assert all(math.isfinite(value) for value in figures.values()), figures
    assert figures == pytest.approx(computed(weighted(scored, repeats, by_weight=False), *wanted), rel=1e-4, abs=1e-6)


def test_how_many_metrics_fit_each_problem():
    assert {problem: len(fitting(problem)) for problem in PROBLEMS} == COUNTS


TRUTH = np.array([1, 1, 1, 1, 1, 0, 0, 0])
POSITIVE = np.array([0.9, 0.8, 0.7, 0.4, 0.3, 0.6, 0.2, 0.1])
BINARY = Scored("binary", ("no", "yes"), TRUTH, np.column_stack([1 - POSITIVE, POSITIVE]))  # TP 3, FP 1, FN 2, TN 2
CHANCES = np.array([[0.6, 0.3, 0.1], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.1, 0.2, 0.7]])
MULTICLASS = Scored("multiclass", ("a", "b", "c"), np.array([0, 1, 2, 1]), CHANCES)  # decided: 0, 0, 2, 2
REGRESSION = Scored("regression", ("y",), np.array([[1.0], [2], [3], [6]]), np.array([[0.0], [3], [1], [6]]))
TWO = Scored("multioutput_regression", ("y", "z"), np.array([[1.0, 0], [0, 2]]), np.array([[1.0, 0], [1, 1]]))


@pytest.mark.parametrize(
    ("scored", "name", "by_hand"),
    [
        (BINARY, "true_positives", 3),
        (BINARY, "TrueNegatives", 2),
        (BINARY, "FalsePositives", 1),
        (BINARY, "false_negatives", 2),
        (BINARY, "BinaryAccuracy", 5 / 8),
        (BINARY, "Hinge", (0.1 + 0.2 + 0.3 + 0.6 + 0.7 + 1.6 + 1.2 + 1.1) / 8),
        (BINARY, "squared_hinge", (0.01 + 0.04 + 0.09 + 0.36 + 0.49 + 2.56 + 1.44 + 1.21) / 8),
        (BINARY, "MeanIoU", (3 / 6 + 2 / 5) / 2),
        (BINARY, {"name": "PrecisionAtRecall", "recall": 0.6}, 1),
        (BINARY, {"name": "SensitivityAtSpecificity", "specificity": 1.0}, 3 / 5),
        (BINARY, {"name": "SpecificityAtSensitivity", "sensitivity": 1.0}, 2 / 3),
        (BINARY, {"name": "Precision", "thresholds": 0.65}, 1),
        (BINARY, {"name": "Recall", "thresholds": 0.35}, 4 / 5),
        (BINARY, "BinaryCrossentropy", -np.log([0.9, 0.8, 0.7, 0.4, 0.3, 0.4, 0.8, 0.9]).mean()),
        (BINARY, "matthews_corrcoef", (3 * 2 - 1 * 2) / math.sqrt(4 * 5 * 3 * 4)),
        (BINARY, {"name": "expected_calibration_error", "bins": 2}, (abs(1.0 - 2) + abs(3.0 - 3)) / 8),
        (MULTICLASS, "CategoricalAccuracy", 2 / 4),
        (MULTICLASS, {"name": "TopKCategoricalAccuracy", "k": 2}, 4 / 4),
        (MULTICLASS, {"name": "sparse_top_k_categorical_accuracy", "k": 1}, 2 / 4),
        (MULTICLASS, "CategoricalCrossentropy", -np.log([0.6, 0.3, 0.5, 0.2]).mean()),
        (MULTICLASS, "SparseCategoricalCrossentropy", -np.log([0.6, 0.3, 0.5, 0.2]).mean()),
        (MULTICLASS, "KLDivergence", -np.log([0.6, 0.3, 0.5, 0.2]).mean()),
        (MULTICLASS, "categorical_hinge", (0.7 + 1.2 + 0.8 + 1.5) / 4),
        (MULTICLASS, "specificity", (2 / 3 + 1 + 2 / 3) / 3),
        (MULTICLASS, "expected_calibration_error", (abs(0.6 - 1) + abs(0.5 + 0.5 - 1) + abs(0.7 - 0)) / 4),
        (REGRESSION, "MeanAbsolutePercentageError", 100 * (1 + 1 / 2 + 2 / 3 + 0) / 4),
        (REGRESSION, "LogCoshError", np.log(np.cosh([1, 1, 2, 0])).mean()),
        (REGRESSION, "MeanSquaredLogarithmicError", (np.log([2 / 1, 3 / 4, 4 / 2, 7 / 7]) ** 2).mean()),
        (REGRESSION, "quantile_coverage", 2 / 4),
        (REGRESSION, {"name": "mean_pinball_loss", "alpha": 0.9}, (0.9 + 0.1 + 1.8 + 0) / 4),
        (REGRESSION, "median_absolute_error", 1),
        (TWO, "CosineSimilarity", (1 + 2 / (2 * math.sqrt(2))) / 2),
    ],
    ids=lambda value: str(value) if isinstance(value, str | dict) else "",
)
def test_figure_by_hand(scored, name, by_hand):
    """R15-R20."""
    (figure,) = computed(scored, Metric.model_validate(name)).values()
    assert figure == pytest.approx(by_hand, rel=1e-4)


def test_metric_of_several_values_has_one_figure_for_each_label():
    figures = computed(MULTICLASS, Metric(name="F1Score"))
    expected = sk.f1_score([0, 1, 2, 1], [0, 0, 2, 2], average=None)
    assert figures == pytest.approx(dict(zip(("f1_score[a]", "f1_score[b]", "f1_score[c]"), expected, strict=True)))


def test_arguments_make_another_metric():
    figures = computed(MULTICLASS, Metric(name="top_k_accuracy", k=1), Metric(name="top_k_accuracy", k=2))
    assert figures == {"top_k_accuracy_score(k=1)": 0.5, "top_k_accuracy_score(k=2)": 1.0}


def test_what_is_computed_of_every_run_is_not_computed_again():
    assert computed(BINARY, Metric(name="accuracy"), Metric(name="Precision"), Metric(name="roc_auc")) == {}


def test_figure_that_is_not_defined_for_the_rows_is_none():
    negative = Scored("regression", ("y",), -REGRESSION.truth, REGRESSION.predicted)
    assert math.isnan(computed(negative, Metric(name="mean_gamma_deviance"))["mean_gamma_deviance"])


@pytest.mark.parametrize(
    ("scored", "metric", "message"),
    [
        (BINARY, {"name": "acuracy"}, "there is no metric 'acuracy'; did you mean accuracy"),
        (
            BINARY,
            {"name": "r2"},
            "metrics: r2 does not fit problem binary; there fit accuracy, .*auc, .*matthews_corrcoef",
        ),
        (REGRESSION, {"name": "AUC"}, "metrics: AUC does not fit problem regression: it compares zeros and ones"),
        (BINARY, {"name": "CategoricalAccuracy"}, "compares all outputs of a row at once, and there is only one"),
        (MULTICLASS, {"name": "top_k_categorical_accuracy"}, "k 5 is above the 3 classes"),
        (BINARY, {"name": "AUC", "threshold": 3}, "AUC refuses threshold: did you mean thresholds"),
        (BINARY, {"name": "AUC", "num_thresholds": "many"}, "AUC wants a number for num_thresholds, got 'many'"),
        (BINARY, {"name": "AUC", "curve": "ROCK"}, "AUC refuses .*Invalid AUC curve value"),
        (BINARY, {"name": "PrecisionAtRecall"}, "PrecisionAtRecall wants recall; write"),
        (BINARY, {"name": "jaccard", "average": "makro"}, "jaccard refuses .*The 'average' parameter"),
    ],
)
def test_metric_that_does_not_fit_is_refused(scored, metric, message):
    with pytest.raises(SpecError, match=message):
        metrics.compute(scored, [Metric.model_validate(metric)])


def test_metric_with_arguments_decides():
    metric = Metric(name="top_k_accuracy", k=2)
    known = metrics.compute(MULTICLASS, [metric])
    assert metrics.deciding(metric, "multiclass", known) == "top_k_accuracy_score(k=2)"
    assert metrics.deciding(Metric(name="F1"), "binary", metrics.compute(BINARY)) == "f1"
    assert metrics.deciding(Metric(name="r2[y]"), "multioutput_regression", metrics.compute(TWO)) == "r2[y]"


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("kl_divergence", True),
        ("auc", False),
        ("false_positives", True),
        ("true_positives", False),
        ("mean_pinball_loss(alpha=0.9)", True),
        ("matthews_corrcoef", False),
        ("expected_calibration_error(bins=5)", True),
        ("own_loss", True),
        ("share_within(tolerance=1)", False),
    ],
)
def test_direction_is_that_of_the_library_or_of_the_name(metric, lower):
    assert metrics.lower_is_better(metric) == lower
