"""R30, R31: what each row counts, against numbers worked out by hand."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from schemas.errors import SpecError
from tasks.encoders.target import LabelsTarget, LabelTarget, NumberTarget
from tasks.training.weights import class_weights, row_weights

BINARY = LabelTarget(names=("y",), classes=("no", "yes"), binary=True), np.array([[0], [0], [0], [1]], np.float32)
MULTICLASS = LabelTarget(names=("y",), classes=("a", "b", "c"), binary=False), np.array([0, 1, 1, 2, 2, 2], np.int32)
MULTILABEL = (
    LabelsTarget(names=("y",), classes=("even", "prime")),
    np.array([[1, 0], [0, 0], [0, 0], [1, 1]], np.float32),
)
SAMPLE = {4: [1, 2, 0, 10], 6: [1, 2, 3, 0, 5, 6]}


def rows(wanted, case, sample=None) -> list:
    """The weights of the rows, class by sample."""
    encoder, target = case
    weights = row_weights(class_weights(wanted, encoder, target), target, None if sample is None else np.array(sample))
    assert weights.dtype == np.float32
    return weights.tolist()


@pytest.mark.parametrize(
    ("case", "wanted", "expected"),
    [
        (BINARY, None, [1, 1, 1, 1]),
        (BINARY, "balanced", [4 / 6, 4 / 6, 4 / 6, 4 / 2]),
        (BINARY, {"yes": 5}, [1, 1, 1, 5]),
        (BINARY, {"no": 0.5, "yes": 0}, [0.5, 0.5, 0.5, 0]),
        (MULTICLASS, None, [1] * 6),
        (MULTICLASS, "balanced", [6 / 3, 6 / 6, 6 / 6, 6 / 9, 6 / 9, 6 / 9]),
        (MULTICLASS, {"c": 3, "a": 2}, [2, 1, 1, 3, 3, 3]),
        (MULTILABEL, None, [1] * 4),
        (MULTILABEL, "balanced", [[1, 4 / 6], [1, 4 / 6], [1, 4 / 6], [1, 4 / 2]]),
        (MULTILABEL, {"prime": 7}, [[1, 1], [1, 1], [1, 1], [1, 7]]),
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


def test_balanced_classes_count_the_same_in_sum():
    weights, target = np.array(rows("balanced", MULTICLASS)), MULTICLASS[1]
    assert [weights[target == code].sum() for code in range(3)] == pytest.approx([2, 2, 2])


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
