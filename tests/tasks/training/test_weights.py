"""R30, R31, R32: what each row counts, against numbers worked out by hand."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from schemas.errors import SpecError
from schemas.training import Training
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.training import weights
from tasks.training.weights import row_weights

BINARY = LabelTarget(names=("y",), classes=("no", "yes"), binary=True), np.array([[0], [0], [0], [1]], np.float32)
MULTICLASS = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False), np.array([0, 1, 1, 2, 2, 2], np.int32)
MULTILABEL = (
    LabelsTarget(names=("y",), classes=("even", "prime")),
    np.array([[1, 0], [0, 0], [0, 0], [1, 1]], np.float32),
)
NUMBERS = NumberTarget(names=("a", "b"), centers=(0.0, 0.0), scales=(1.0, 1.0)), np.zeros((4, 2), np.float32)
HALF = {"name": "effective_number", "beta": 0.5}
SAMPLE = {4: [1, 2, 0, 10], 6: [1, 2, 3, 0, 5, 6]}


def class_weights(wanted, encoder, target):
    """The weights that a spec's class_weight or, of numbers, output_weight asks for."""
    key = "output_weight" if isinstance(encoder, NumberTarget) else "class_weight"
    return weights.class_weights(Training.model_validate({key: wanted}), encoder, target)


def rows(wanted, case, sample=None) -> list:
    """The weights of the rows, class by sample."""
    encoder, target = case
    classes = class_weights(wanted, encoder, target)
    weighted = row_weights(classes, target, None if sample is None else np.array(sample))
    assert weighted.dtype == np.float32
    return weighted.tolist()


@pytest.mark.parametrize(
    ("case", "wanted", "expected"),
    [
        (BINARY, None, [1, 1, 1, 1]),
        (BINARY, "balanced", [4 / 6, 4 / 6, 4 / 6, 4 / 2]),
        (BINARY, {"yes": 5}, [1, 1, 1, 5]),
        (BINARY, {"no": 0.5, "yes": 0}, [0.5, 0.5, 0.5, 0]),
        # 1 - beta over 1 - beta^n is 0.5 / 0.875 for 3 rows and 1 for 1 row: 4/7 and 1, of mean 11/14
        (BINARY, HALF, [8 / 11, 8 / 11, 8 / 11, 14 / 11]),
        (MULTICLASS, None, [1] * 6),
        (MULTICLASS, "balanced", [6 / 3, 6 / 6, 6 / 6, 6 / 9, 6 / 9, 6 / 9]),
        (MULTICLASS, {"c": 3, "a": 2}, [2, 1, 1, 3, 3, 3]),
        # 1, 2 and 3 rows: 1, 2/3 and 4/7, of mean 47/63
        (MULTICLASS, HALF, [63 / 47, 42 / 47, 42 / 47, 36 / 47, 36 / 47, 36 / 47]),
        (MULTILABEL, None, [1] * 4),
        (MULTILABEL, "balanced", [[1, 4 / 6], [1, 4 / 6], [1, 4 / 6], [1, 4 / 2]]),
        (MULTILABEL, {"prime": 7}, [[1, 1], [1, 1], [1, 1], [1, 7]]),
        # even: 2 rows with and 2 without; prime: 1 with and 3 without
        (MULTILABEL, HALF, [[1, 8 / 11], [1, 8 / 11], [1, 8 / 11], [1, 14 / 11]]),
        (NUMBERS, None, [1] * 4),
        (NUMBERS, {"b": 3}, [[1, 3]] * 4),
    ],
)
def test_weight_is_class_weight_times_sample_weight(case, wanted, expected):
    assert np.array(rows(wanted, case)) == pytest.approx(np.array(expected))
    sample = np.array(SAMPLE[len(expected)], float)
    weighted = np.array(expected) * (sample if np.ndim(expected) == 1 else sample[:, None])
    assert np.array(rows(wanted, case, sample)) == pytest.approx(weighted)


def test_balanced_is_scikit_learns():
    labels = np.repeat(np.arange(3), [50, 7, 300])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights("balanced", MULTICLASS[0], labels.astype(np.int32)).values == pytest.approx(expected)


def test_effective_number_lies_between_no_weights_and_balanced():
    counts = np.repeat(np.arange(3), [50, 7, 300]).astype(np.int32)
    none = class_weights({"name": "effective_number", "beta": 0}, MULTICLASS[0], counts).values
    assert none.tolist() == [1, 1, 1]
    most = class_weights({"name": "effective_number", "beta": 1 - 1e-9}, MULTICLASS[0], counts).values
    balanced = class_weights("balanced", MULTICLASS[0], counts).values
    assert most / most[0] == pytest.approx(balanced / balanced[0], rel=1e-5)


def test_balanced_classes_count_the_same_in_sum():
    weighted, target = np.array(rows("balanced", MULTICLASS)), MULTICLASS[1]
    assert [weighted[target == code].sum() for code in range(3)] == pytest.approx([2, 2, 2])


def test_classes_of_the_training_split_weigh_the_validation_split():
    classes = class_weights("balanced", *BINARY)
    assert row_weights(classes, np.array([[1], [1], [1]], np.float32), None).tolist() == [2, 2, 2]


@pytest.mark.parametrize("case", [BINARY, MULTICLASS, MULTILABEL])
def test_weight_for_a_label_that_does_not_exist_is_refused(case):
    with pytest.raises(SpecError, match=r"training\.class_weight: no label 'Yes'; there are "):
        rows({"Yes": 2}, case)


def test_numbers_have_sample_weights_alone():
    encoder = NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,))
    assert rows(None, (encoder, np.array([[1], [2]], np.float32)), [3, 4]) == [3, 4]
