"""R27: numbers on each scale, against scikit-learn; missing ones, constant ones, and ones too large."""

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

from schemas.errors import DataError

SKEWED = np.random.default_rng(7).lognormal(3, 2, 1000)


@pytest.mark.parametrize(
    ("scale", "reference"), [("standard", StandardScaler()), ("robust", RobustScaler()), ("min_max", MinMaxScaler())]
)
@pytest.mark.parametrize("values", [SKEWED, SKEWED * 1e-15, SKEWED + 1e9], ids=["skewed", "tiny", "far from 0"])
def test_scale_is_scikit_learns(column, scale, reference, values):
    numeric = column("numeric", scale=scale)
    encoded = numeric.fitted(values).transform(numeric.array(values))
    np.testing.assert_allclose(encoded, reference.fit_transform(values[:, None]), rtol=1e-5, atol=1e-6)


def test_log_scale_is_standard_after_the_signed_logarithm(column):
    numeric, values = column("numeric", scale="log"), np.concatenate([SKEWED, -SKEWED / 2])
    logarithms = np.sign(values) * np.log(1 + np.abs(values))
    expected = StandardScaler().fit_transform(logarithms[:, None])
    np.testing.assert_allclose(numeric.fitted(values).transform(numeric.array(values)), expected, rtol=1e-5, atol=1e-6)


def test_no_scale_leaves_numbers_as_they_are(column):
    numeric = column("numeric", scale="none")
    assert numeric.fitted([1.5, -2, 7]).transform(numeric.array([1.5, -2, 7])).tolist() == [[1.5], [-2], [7]]


@pytest.mark.parametrize("scale", ["standard", "robust", "min_max", "log"])
def test_batches_of_odd_sizes_fit_as_one_batch_does(column, scale):
    numeric, values = column("numeric", scale=scale), [None, *SKEWED]
    whole = numeric.fitted(values).model_dump(exclude={"name", "kind"})
    pieces = numeric.fitted(values[:1], values[1:2], [], values[2:339], values[339:])
    assert pieces.model_dump(exclude={"name", "kind"}) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize(("impute", "filled"), [("median", 2), ("mean", 4), ("zero", 0)])
def test_missing_value_is_imputed_and_marked(column, impute, filled):
    numeric = column("numeric", scale="none", impute=impute)
    encoder = numeric.fitted([1, 2, None, 9])
    assert encoder.outputs == ("x", "x=missing")
    assert encoder.transform(numeric.array([None, 9])).tolist() == [[filled, 1], [9, 0]]


def test_missing_value_that_training_did_not_have_is_imputed(column):
    numeric = column("numeric", scale="none")
    encoder = numeric.fitted([1, 2, 9])
    assert encoder.outputs == ("x",)
    assert encoder.transform(numeric.array([None])).tolist() == [[2]]


@pytest.mark.parametrize("scale", ["standard", "robust", "min_max", "log"])
@pytest.mark.parametrize("value", [0.0, 0.1, -3e8])
def test_constant_column_has_scale_1(column, scale, value):
    numeric = column("numeric", scale=scale)
    encoder = numeric.fitted([value] * 7)
    assert encoder.scale == 1
    np.testing.assert_allclose(encoder.transform(numeric.array([value])), [[0]], atol=1e-6)


def test_robust_scale_without_spread_in_the_middle_is_the_deviation(column):
    assert column("numeric", scale="robust").fitted([0] * 9 + [10]).scale == pytest.approx(3)


def test_column_with_so_few_values_that_the_sample_has_none_is_filled_with_the_mean(column, monkeypatch):
    monkeypatch.setattr("tasks.encoders.table._SAMPLE_ROWS", 3)
    encoder = column("numeric", scale="robust").fitted([None] * 997 + [2, 4, 9])
    assert (encoder.fill, encoder.center) == (5, 5)


@pytest.mark.parametrize("scale", ["standard", "robust", "min_max", "log", "none"])
def test_inverse_returns_the_numbers(column, scale):
    numeric, values = column("numeric", scale=scale), np.array([-40.0, 0, 3, 1000])
    encoder = numeric.fitted(values)
    np.testing.assert_allclose(encoder.inverse(encoder.transform(numeric.array(values))), values, rtol=1e-5, atol=1e-3)


def test_number_too_large_for_float32_is_refused_with_column_and_row(typed):
    numbers = typed({"dose": {"kind": "numeric", "scale": "none"}})
    encoder = numbers.fit(dose=[1.0, 2.0])
    with pytest.raises(DataError, match=r"column 'dose', row 12 .*2\): too large for float32"):
        encoder.transform(numbers.rows(dose=[1, None, 1e39, -1e39], first=10))


def test_number_too_large_for_its_deviation_is_refused(typed):
    numbers = typed({"dose": {"kind": "numeric"}})
    with pytest.raises(DataError, match="column 'dose' holds numbers too large"):
        numbers.fit(dose=[1.0, 1e200, 3.0])
