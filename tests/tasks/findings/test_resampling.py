"""Bootstrap intervals, and the metrics that are computed for them alone."""

import dataclasses

import numpy as np
import pytest
import sklearn.metrics

from schemas.named import Metric
from tasks import metrics
from tasks.findings.resampling import Interval, interval, measure, resampled
from tasks.metrics import Scored

RANDOM = np.random.default_rng(0)


def scored(problem, rows=300, weighted=False):
    probability = RANDOM.random((rows, 1)).round(2)  # rounded: equal scores are there
    names = {"regression": ("y",), "multioutput_regression": ("a", "b"), "binary": ("no", "yes")}.get(
        problem, tuple("abc")
    )
    if problem.endswith("regression"):
        truth = RANDOM.normal(size=(rows, len(names)))
        predicted = truth + RANDOM.normal(size=truth.shape)
    elif problem == "binary":
        truth = (RANDOM.random(rows) < probability[:, 0]).astype(int)
        predicted = np.hstack([1 - probability, probability])
    elif problem == "multiclass":
        truth, predicted = RANDOM.integers(3, size=rows), RANDOM.dirichlet(np.ones(3), rows)
    else:
        predicted = RANDOM.random((rows, 3))
        truth = (RANDOM.random((rows, 3)) < predicted).astype(np.int8)
    return Scored(problem, names, truth, predicted, RANDOM.uniform(0, 3, rows) if weighted else None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("problem", ["regression", "multioutput_regression", "binary", "multiclass", "multilabel"])
def test_a_metric_alone_is_the_same_as_among_all(problem, weighted):
    rows = scored(problem, weighted=weighted)
    for name, value in metrics.compute(rows).items():
        assert measure(name)(rows) == pytest.approx(value, rel=1e-9), name


def test_a_metric_is_computed_without_those_beside_it(monkeypatch):
    """Else thousands of resamples take minutes."""
    rows, computed = scored("binary"), list[str]()
    beside = {"f1_score", "recall_score", "average_precision_score", "log_loss"}
    functions = {name: getattr(sklearn.metrics, name) for name in beside}
    for name in beside:

        def counted(*arrays, name=name, **keys):
            computed.append(name)
            return functions[name](*arrays, **keys)

        monkeypatch.setattr(sklearn.metrics, name, counted)
    measure("f1")(rows)
    assert computed == ["f1_score"]
    metrics.compute(rows)
    assert {*computed[1:]} == beside


def test_a_metric_that_the_spec_names_is_the_same_as_among_all():
    rows, wanted = scored("regression"), [Metric(name="MeanSquaredLogarithmicError"), Metric(name="max_error")]
    found = metrics.compute(rows, wanted)
    assert {*found} >= {"mean_squared_logarithmic_error", "max_error", "r2"}
    for name, value in found.items():
        assert measure(name, wanted)(rows) == pytest.approx(value, rel=1e-6), name


@pytest.mark.parametrize("problem", ["regression", "multioutput_regression", "binary", "multiclass", "multilabel"])
def test_rows_that_weigh_nothing_have_no_figures(problem):
    rows = dataclasses.replace(scored(problem, rows=20), weight=np.zeros(20))
    found = metrics.compute(rows, [Metric(name="max_error")] if problem == "regression" else [])
    assert found.keys() >= metrics.compute(scored(problem)).keys()
    assert all(np.isnan(value) and np.isnan(measure(name)(rows)) for name, value in found.items())


def test_an_area_over_one_class_is_not_defined():
    rows = Scored("binary", ("no", "yes"), np.ones(3, int), np.full((3, 2), 0.5))
    assert np.isnan(measure("roc_auc")(rows))


@pytest.mark.parametrize("rows", [500, 20_000])
def test_the_interval_of_a_mean_is_that_of_the_textbook(rows):
    """1.96 standard errors on both sides, whether all rows are drawn or 2,000 of them."""
    error = np.random.default_rng(1).normal(size=(rows, 1))
    many = Scored("regression", ("y",), error, np.zeros_like(error))
    found = interval(resampled(measure("mean_absolute_error"), many, resamples=1000, seed=0))
    half = 1.96 * np.abs(error).std() / np.sqrt(rows)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.12)
    assert (found.high + found.low) / 2 == pytest.approx(np.abs(error).mean(), abs=0.2 * half)


def test_paired_rows_are_drawn_together():
    one = scored("regression")
    score = measure("mean_squared_error")
    values = resampled(lambda a, b: score(a) - score(b), one, one, resamples=20, seed=0)
    assert interval(values) == Interval(0.0, 0.0)


def test_seed_decides_the_draws():
    rows = scored("binary")
    first, again, other = (resampled(measure("roc_auc"), rows, resamples=10, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_few_defined_resamples_give_no_interval():
    assert interval(np.array([0.5, np.nan, np.nan])) is None
    assert interval(np.zeros(0)) is None
