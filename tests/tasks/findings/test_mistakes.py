"""The worst predicted rows."""

import base64
import io
import re

import matplotlib.image
import numpy as np
import pyarrow as pa
import pytest

from schemas.columns import DatetimeColumn, NumericColumn, TensorColumn
from schemas.contract import Contract
from schemas.data import Target
from tasks.findings import mistakes
from tasks.findings.selection import rows_at
from tasks.metrics import Scored
from tasks.reports.mistakes import table as table_of
from tasks.tables import TableWriter


@pytest.mark.parametrize(
    ("problem", "names", "truth", "predicted", "errors"),
    [
        ("regression", ("y",), [[1.0], [2.0]], [[1.5], [0.0]], [0.5, 2.0]),
        ("multioutput_regression", ("a", "b"), [[0.0, 0], [2, 20]], [[1.0, 0], [2, 10]], [0.5**0.5, 0.5**0.5]),
        ("binary", ("no", "yes"), [1, 0], [[0.5, 0.5], [0.2, 0.8]], [-np.log(0.5), -np.log(0.2)]),
        ("multilabel", ("a", "b"), [[1, 0], [1, 1]], [[0.5, 0.5], [1.0, 0.0]], [-np.log(0.5), -np.log(1e-7) / 2]),
    ],
)
def test_how_badly_a_row_is_predicted(problem, names, truth, predicted, errors):
    scored = Scored(problem, names, np.array(truth), np.array(predicted))
    np.testing.assert_allclose(mistakes.row_errors(scored), errors)


@pytest.fixture
def rows(tmp_path):
    """A hundred rows in small batches, some of them past the last year that Python knows."""
    at = np.arange(100)
    table = pa.table(
        {
            "_row": at + 1000,
            "x": pa.array(at / 2),
            "when": pa.array(at * 10**16, pa.timestamp("us")),
            "image": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(200, np.float32)), 2),
            "_key.id": [f"id {each}" for each in at],
        }
    )
    with TableWriter(tmp_path / "test.parquet", table.schema) as writer:
        writer.write(table)
    return tmp_path / "test.parquet"


def test_worst_rows_come_with_their_values_the_worst_first(rows):
    columns = {"x": NumericColumn(), "when": DatetimeColumn(parts=("year",)), "image": TensorColumn(shape=(2,))}
    contract = Contract(problem="multiclass", columns=columns, target=Target(column="y"), key=("id",))
    probability = np.full((100, 3), 1 / 3)
    probability[7], probability[3] = (0.0, 1.0, 0.0), (0.1, 0.9, 0.0)
    scored = Scored("multiclass", ("a", "b", "c"), np.zeros(100, int), probability)
    found = mistakes.find(rows, scored, contract, ["x", "image", "when"], most=2)
    assert found.columns == ("x", "when")
    assert [(each.row, each.key, each.truth, each.predicted) for each in found.rows] == [
        (1007, ("id 7",), "a", "b"),
        (1003, ("id 3",), "a", "b"),
    ]
    assert found.rows[1].values == (1.5, "2920-08-30 05:20:00")


def test_rows_are_taken_by_their_positions_from_any_batch(rows):
    assert rows_at(rows, np.array([0, 50, 99])).column("_row").to_pylist() == [1000, 1050, 1099]


@pytest.mark.parametrize(
    ("shape", "picture"),
    [((8, 4), (8, 4)), ((4, 4, 1), (4, 4)), ((4, 4, 3), (4, 4, 3)), ((16, 2), None), ((40,), None)],
)
def test_images_are_found_among_tensors_and_shown(tmp_path, shape, picture):
    values = np.arange(2 * np.prod(shape), dtype=np.float32)
    tensors = pa.FixedSizeListArray.from_arrays(pa.array(values), int(np.prod(shape)))
    table = pa.table({"_row": [0, 1], "image": tensors})
    with TableWriter(tmp_path / "test.parquet", table.schema) as writer:
        writer.write(table)
    contract = Contract(
        problem="binary", columns={"image": TensorColumn(shape=shape)}, target=Target(column="y"), key=()
    )
    scored = Scored("binary", ("a", "b"), np.array([0, 1]), np.array([[0.5, 0.5], [0.9, 0.1]]))
    found = mistakes.find(tmp_path / "test.parquet", scored, contract, ["image"], most=2)
    shown = table_of(found, problem="binary", names=("a", "b"))
    if picture is None:
        assert found.pictures == ()
        assert "image" not in shown.header
    else:
        assert found.pictures == ("image",)
        np.testing.assert_array_equal(found.rows[0].pictures[0], values[len(values) // 2 :].reshape(picture))
        cell = shown.rows[0][shown.header.index("image")]
        drawn = matplotlib.image.imread(io.BytesIO(base64.b64decode(re.search('base64,(.*)"', cell)[1])))
        assert drawn.shape[:2] == picture[:2]
        assert (drawn[0, 0, 0] < drawn[-1, -1, 0]) == (len(picture) == 3)  # of grey ones high values are the ink
