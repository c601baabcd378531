"""Slices of test rows by the values of a column."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from schemas.columns import BooleanColumn, DatetimeColumn, NumericColumn, OneHotColumn, TensorColumn
from schemas.contract import Contract
from schemas.data import Target
from schemas.errors import SpecError
from tasks.findings import slices
from tasks.findings.resampling import measure
from tasks.metrics import Scored
from tasks.reports import slices as report
from tasks.tables import TableWriter

ROWS = 200
QUARTERS = (
    "2020-01-01", "2020-02-19", "2020-02-20", "2020-04-09", "2020-04-10", "2020-05-29", "2020-05-30", "2020-07-18",
)  # fmt: skip
COLUMNS = {
    "colour": OneHotColumn(),
    "wet": BooleanColumn(),
    "size": NumericColumn(),
    "when": DatetimeColumn(parts=("year",)),
    "image": TensorColumn(shape=(2,)),
}
CONTRACT = Contract(
    problem="regression", columns=COLUMNS, target=Target(column="y"), key=("id",), slices=("sex",), weight="w"
)


@pytest.fixture
def rows(tmp_path):
    """Two hundred rows; every tenth one misses its colour."""
    number = np.arange(ROWS)
    start = datetime.datetime(2020, 1, 1)
    table = pa.table(
        {
            "colour": [None if at % 10 == 9 else f"colour {at % 13}" for at in number],
            "wet": pa.array(number % 2 == 0),
            "size": number / 7,
            "when": pa.array([start + datetime.timedelta(days=int(at)) for at in number], pa.timestamp("us")),
            "image": pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * ROWS, np.float32)), 2),
            "y": number.astype(float),
            "_key.id": [f"id {at}" for at in number],
            "_slice.sex": ["f" if at < 50 else "m" for at in number],
            "_weight": np.ones(ROWS),
        }
    )
    with TableWriter(tmp_path / "test.parquet", table.schema) as writer:
        writer.write(table)
    return tmp_path / "test.parquet"


def found(rows, *names, resamples=0, weight=None):
    """Rows 0 to 49 are predicted 2 off, the others 1 off."""
    truth = np.arange(ROWS, dtype=float)[:, None]
    error = np.where(truth < 50, 2.0, 1.0)
    scored = Scored("regression", ("y",), truth, truth + error, weight)
    return slices.find(rows, scored, CONTRACT, names, score=measure("mean_absolute_error"), resamples=resamples, seed=0)


def test_a_slice_has_the_metric_of_its_own_rows(rows):
    female, male = found(rows, "sex", resamples=50)[::-1]
    assert (female.column, female.value, female.rows, female.score) == ("sex", "f", 50, 2.0)
    assert (male.value, male.rows, male.score) == ("m", 150, 1.0)
    assert (female.interval.low, female.interval.high) == (2.0, 2.0)


def test_of_many_categories_the_most_frequent_ones_stand_alone(rows):
    parts = found(rows, "colour")
    assert [part.value for part in parts[8:]] == [slices.OTHERS, slices.MISSING]
    assert len({part.value for part in parts}) == 10
    assert parts[9].rows == ROWS // 10
    assert sum(part.rows for part in parts) == ROWS


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("wet", ["true", "false"]),
        ("size", ["0 to 7", "7.143 to 14.14", "14.29 to 21.29", "21.43 to 28.43"]),
        ("y", ["0 to 49", "50 to 99", "100 to 149", "150 to 199"]),
        ("w", ["1"]),
        ("when", [f"{a} to {b}" for a, b in zip(QUARTERS[::2], QUARTERS[1::2], strict=True)]),
    ],
)  # fmt: skip
def test_many_numbers_and_times_are_taken_in_quarters(rows, column, values):
    parts = found(rows, column)
    assert [part.value for part in parts] == values
    assert sum(part.rows for part in parts) == ROWS


def test_keys_are_columns_too(rows):
    assert found(rows, "id")[-1].value == slices.OTHERS


def test_a_tensor_is_refused(rows):
    with pytest.raises(SpecError, match=r"evaluation\.slices: column 'image' holds .*take it out"):
        found(rows, "image")


def test_categories_come_first_where_nothing_is_asked_for():
    assert slices.columns(None, CONTRACT, ["size", "image", "when", "wet", "colour"]) == ("wet", "colour", "size")
    assert slices.columns((), CONTRACT, ["size"]) == ()
    assert slices.columns(("sex",), CONTRACT, []) == ("sex",)


def test_few_rows_have_no_interval(rows):
    assert [part.interval for part in found(rows, "id", resamples=20)[:2]] == [None, None]


def test_a_slice_whose_rows_weigh_nothing_has_no_figure(rows):
    female, male = found(rows, "sex", resamples=20, weight=np.where(np.arange(ROWS) < 50, 0.0, 1.0))[::-1]
    assert np.isnan(female.score) and female.interval is None
    assert male.score == 1.0
    cells = report.section([male, female], metric="mean_absolute_error", whole=1.0, rows=ROWS).tables[0].rows[1]
    assert cells[:4] == (None, "f", "–", "–")
