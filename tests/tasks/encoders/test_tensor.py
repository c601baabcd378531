"""R7: tensors of a fixed shape, such as images of digits."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from schemas.errors import DataError

DIGITS = load_digits().images[:50]


def lists(images) -> list[list[float]]:
    """Images as ingest has them: flat."""
    return [image.ravel().tolist() for image in images]


def test_images_keep_their_shape_on_a_scale_from_0_to_1(column):
    images = column("tensor", shape=(8, 8))
    encoded = images.fitted(lists(DIGITS)).transform(images.array(lists(DIGITS)))
    np.testing.assert_allclose(encoded, DIGITS / 16, rtol=1e-6)
    assert encoded.dtype == np.float32


def test_standard_scale_is_one_for_all_numbers(column):
    images = column("tensor", shape=(8, 8), scale="standard")
    expected = StandardScaler().fit_transform(DIGITS.reshape(-1, 1)).reshape(DIGITS.shape)
    encoded = images.fitted(lists(DIGITS[:7]), [], lists(DIGITS[7:])).transform(images.array(lists(DIGITS)))
    np.testing.assert_allclose(encoded, expected, rtol=1e-5, atol=1e-6)


def test_no_scale_leaves_numbers_as_they_are(column):
    pairs = column("tensor", shape=(2,), scale="none")
    assert pairs.fitted([[1, 2]]).transform(pairs.array([[-3, 0.5]])).tolist() == [[-3, 0.5]]


def test_missing_tensor_is_0(column):
    pairs = column("tensor", shape=(2, 1), scale="standard")
    encoder = pairs.fitted([[1, 2], None, [3, 4]])
    assert encoder.transform(pairs.array([None, [2.5, 2.5]])).tolist() == [[[0], [0]], [[0], [0]]]


def test_value_behind_a_missing_tensor_counts_for_nothing(column):
    pairs = column("tensor", shape=(2,))
    behind = pa.array([1, 2, np.nan, 900, 3, 5], pa.float32())
    values = pa.FixedSizeListArray.from_arrays(behind, 2, mask=pa.array([False, True, False]))
    encoder = pairs.fitted(values)
    assert (encoder.center, encoder.scale) == (1, 4)
    assert encoder.transform(values).tolist() == [[0, 0.25], [0, 0], [0.5, 1]]


def test_slice_is_encoded_as_its_rows_are(column):
    pairs = column("tensor", shape=(2,), scale="none")
    values = pairs.array([[1, 2], [3, 4], None, [5, 6], [7, 8]])
    assert pairs.fitted([[0, 1]]).transform(values.slice(1, 3)).tolist() == [[3, 4], [0, 0], [5, 6]]
    assert pairs.fitted(values.slice(3)).transform(values.slice(4)).tolist() == [[7, 8]]


def test_constant_tensor_has_scale_1(column):
    assert column("tensor", shape=(2,)).fitted([[4, 4], [4, 4]]).scale == 1


def test_number_too_large_for_float32_is_refused_with_column_and_row(typed):
    pairs = typed({"pair": {"kind": "tensor", "shape": (2,)}})
    encoder = pairs.fit(pair=[[0, 1e-5]])
    with pytest.raises(DataError, match=r"column 'pair', row 1 .*too large for float32"):
        encoder.transform(pairs.rows(pair=[[0, 0], [0, 3e38]]))
