"""R1-R5, R24: targets of the five problems to what the loss compares with, and back to numbers and labels."""

import numpy as np
import pytest

from schemas.errors import DataError

X = {"x": {"kind": "numeric"}}


@pytest.fixture
def target(typed):
    """Typed tables, the encoder of their target, and the rows it was fitted on: `target(problem, spec, **columns)`."""

    def make(problem, spec, **columns):
        tables = typed(X, problem=problem, target=spec)
        rows = tables.rows(**columns)
        return tables, tables.fit(rows).target, rows

    return make


def said(encoder, decoded) -> dict[str, list]:
    """What predictions look like to the user."""
    return {name: values.to_pylist() for name, values in encoder.columns(np.asarray(decoded, np.float64)).items()}


def test_number_is_standardised_and_comes_back_in_its_own_units(target):
    _, encoder, rows = target("regression", "y", y=[100, 200, 600])
    encoded = encoder.encode(rows)
    assert (encoded.shape, encoded.dtype) == ((3, 1), np.float32)
    assert (encoded.mean(), encoded.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1))
    assert said(encoder, encoder.decode(encoded))["prediction"] == pytest.approx([100, 200, 600])


def test_number_without_scale_stays_as_it_is(target):
    _, encoder, rows = target("regression", {"column": "y", "scale": "none"}, y=[0.25, 0.5])
    assert encoder.encode(rows).tolist() == [[0.25], [0.5]]


def test_each_of_several_numbers_has_its_own_scale(target):
    _, encoder, rows = target("multioutput_regression", {"columns": ["a", "b"]}, a=[1, 3], b=[100, 900])
    assert encoder.encode(rows).tolist() == [[-1, -1], [1, 1]]
    assert said(encoder, encoder.decode(encoder.encode(rows))) == {"prediction_a": [1, 3], "prediction_b": [100, 900]}


def test_number_too_large_for_float32_is_refused(target):
    tables, encoder, _ = target("regression", {"column": "y", "scale": "none"}, y=[1, 2])
    with pytest.raises(DataError, match=r"target 'y', row 5 .*too large for float32"):
        encoder.encode(tables.rows(y=[3, 1e300], first=4))


def test_label_is_a_code_in_the_order_of_the_alphabet_and_comes_back(target):
    _, encoder, rows = target("multiclass", "y", y=["India", "US", "Japan", "US", "Japan"])
    codes = encoder.encode(rows)
    assert (codes.tolist(), codes.dtype) == ([0, 2, 1, 2, 1], np.int32)
    assert encoder.labels(np.array([2, 0, 1])).to_pylist() == ["US", "India", "Japan"]


def test_prediction_is_the_likeliest_label_with_a_probability_for_each(target):
    _, encoder, _ = target("multiclass", "y", y=["b", "a", "c"])
    assert said(encoder, encoder.decode(np.array([[0.25, 0.5, 0.25], [0, 0.25, 0.75]], np.float32))) == {
        "prediction": ["b", "c"],
        "probability_a": [0.25, 0],
        "probability_b": [0.5, 0.25],
        "probability_c": [0.25, 0.75],
    }


@pytest.mark.parametrize(
    ("labels", "classes", "prediction"),
    [
        (["10", "9", "-1"], ("-1", "9", "10"), [-1, 9, 10]),  # integers: sorted by value, and integers again
        (["10", "9", "x"], ("10", "9", "x"), ["10", "9", "x"]),
        (["10", "09", "9"], ("09", "10", "9"), ["09", "10", "9"]),  # 09 is a text
        (["1", "2", str(10**20)], ("1", str(10**20), "2"), ["1", str(10**20), "2"]),  # too large for an integer
        (["1", "2", "٣"], ("1", "2", "٣"), ["1", "2", "٣"]),  # Python's int() reads Arabic digits too
    ],
)
def test_integer_labels_are_sorted_by_value(target, labels, classes, prediction):
    _, encoder, _ = target("multiclass", "y", y=labels)
    assert encoder.classes == classes
    assert encoder.labels(np.arange(3)).to_pylist() == prediction


@pytest.mark.parametrize(
    ("spec", "classes"),
    [
        ("y", ("no", "yes")),
        ({"column": "y", "positive": "no"}, ("yes", "no")),
        ({"column": "y", "classes": ["yes", "no"]}, ("yes", "no")),
    ],
)
def test_positive_label_is_the_second_or_the_one_named(target, spec, classes):
    _, encoder, rows = target("binary", spec, y=["yes", "no", "yes"])
    assert encoder.classes == classes
    assert encoder.encode(rows).tolist() == [[classes.index(label)] for label in ("yes", "no", "yes")]
    probability = encoder.decode(np.array([[0.25], [0.75]], np.float32))
    assert probability.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert said(encoder, probability) == {"prediction": list(classes), "probability": [0.25, 0.75]}


def test_one_hot_columns_are_codes_of_their_names(target):
    columns = {"2": [0, 1, 0, 0], "0": [0, 0, 1, 1], "1": [1, 0, 0, 0]}
    _, encoder, rows = target("multiclass", {"columns": ["0", "1", "2"]}, **columns)
    assert encoder.encode(rows).tolist() == [1, 2, 0, 0]
    assert encoder.labels(np.array([2, 0])).to_pylist() == [2, 0]


@pytest.mark.parametrize(("b", "ones"), [([1, 1, 0], "2 ones"), ([0, 0, 0], "0 ones")])
def test_one_hot_row_without_a_single_1_is_refused(target, b, ones):
    tables, encoder, _ = target("multiclass", {"columns": ["a", "b"]}, a=[1, 0], b=[0, 1])
    with pytest.raises(DataError, match=f"target columns a, b: row [01] has {ones}"):
        encoder.encode(tables.rows(a=[b[0], b[1], 1], b=b))


def test_label_columns_stay_zeros_and_ones(target):
    _, encoder, rows = target("multilabel", {"columns": ["even", "prime"]}, even=[1, 0, 1], prime=[1, 1, 0])
    encoded = encoder.encode(rows)
    assert (encoded.tolist(), encoded.dtype) == ([[1, 1], [0, 1], [1, 0]], np.float32)
    assert encoder.truth(rows).dtype == np.int8


def test_list_of_labels_is_zeros_and_ones_in_the_order_of_the_alphabet(target):
    lists = [["prime", "even"], [], ["prime"], ["prime", "prime"], ["odd"]]
    _, encoder, rows = target("multilabel", "y", y=lists)
    expected = [[1, 0, 1], [0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert encoder.classes == ("even", "odd", "prime")
    assert encoder.encode(rows).tolist() == expected
    assert encoder.encode(rows.slice(1, 3)).tolist() == expected[1:4]


def test_label_is_predicted_at_a_half_and_above(target):
    _, encoder, _ = target("multilabel", "y", y=[["b"], ["a"]])
    assert said(encoder, encoder.decode(np.array([[0.5, 0.25]], np.float32))) == {
        "prediction_a": [1],
        "prediction_b": [0],
        "probability_a": [0.5],
        "probability_b": [0.25],
    }


@pytest.mark.parametrize(
    ("problem", "spec", "columns"),
    [
        ("multiclass", {"column": "y", "classes": ["a", "b", "gone"]}, {"y": ["a", "b"]}),
        ("multiclass", {"columns": ["a", "b", "gone"]}, {"a": [1, 0], "b": [0, 1], "gone": [0, 0]}),
        ("multilabel", {"column": "y", "classes": ["a", "gone"]}, {"y": [["a"], []]}),
        ("multilabel", {"columns": ["a", "gone"]}, {"a": [1, 0], "gone": [0, 0]}),
    ],
)
def test_class_that_training_lacks_is_refused_with_counts(target, problem, spec, columns):
    with pytest.raises(DataError, match=r"class 'gone' .* not in the training split.*'a' \(1 rows\)"):
        target(problem, spec, **columns)


@pytest.mark.parametrize(
    ("problem", "labels"), [("binary", ["a", "a"]), ("multiclass", ["a", "a"]), ("multilabel", [[], []])]
)
def test_target_with_nothing_to_tell_apart_is_refused(target, problem, labels):
    with pytest.raises(DataError, match="fewer than two classes in the training split"):
        target(problem, "y", y=labels)


@pytest.mark.parametrize(
    ("problem", "seen", "new"), [("multiclass", ["a", "b"], ["a", "z"]), ("multilabel", [["a"]], [["z", "a"]])]
)
def test_class_first_seen_after_training_is_refused_by_name(target, problem, seen, new):
    tables, encoder, _ = target(problem, "y", y=seen)
    with pytest.raises(DataError, match=r"target 'y' has .* not in the training split: .*'z'"):
        encoder.encode(tables.rows(y=new))


@pytest.mark.parametrize(
    ("problem", "spec", "columns"),
    [
        ("regression", "y", {"y": [1, None, 3]}),
        ("multiclass", "y", {"y": ["a", "b", "a", "c"]}),
        ("multilabel", "y", {"y": [["a"], ["a", "b"], []]}),
        ("multilabel", {"columns": ["a", "b"]}, {"a": [0, 1, 1], "b": [0, 0, 1]}),
    ],
)
def test_batches_fit_as_one_batch_does(typed, problem, spec, columns):
    tables = typed(X, problem=problem, target=spec)
    columns = {name: [value for value in values if value is not None] for name, values in columns.items()}
    rows = tables.rows(**columns)
    pieces = [rows.slice(0, 1), rows.slice(1, 0), rows.slice(1)]
    assert tables.fit(*pieces).target == tables.fit(rows).target
