"""Rows against the contract where there is no target: to predict, from files and from frames at hand."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import DataError
from tasks.rows import RowReader
from tasks.sources.files import list_files


@pytest.fixture
def contract(ingest_request, frame) -> Contract:
    """A number and a colour, by a key."""
    columns = {"x": {"kind": "numeric", "maximum": 2}, "colour": {"kind": "one_hot"}}
    return ingest_request(frame, columns=columns, data={"key": ["id"]}).contract


def test_rows_to_predict_need_no_target_and_may_repeat_keys(tmp_path, contract, frame):
    pd.concat([frame, frame])[["id", "x", "colour"]].to_csv(tmp_path / "new.csv", index=False)
    source = Source(path=str(tmp_path / "new.csv"))
    (batch,) = RowReader(list_files(source), source, contract, with_target=False)
    high = int((frame["x"] > 2).sum())
    assert (batch.accepted.num_rows, batch.rejected.num_rows) == (400 - 2 * high, 2 * high)
    assert batch.accepted.column_names == ["_row", "x", "colour", "_key.id"]
    assert len(batch.hashes) == batch.accepted.num_rows


@pytest.mark.parametrize("words", ["str", "category", object])
def test_frame_at_hand_is_checked_as_a_file_is(contract, frame, words):
    reader = RowReader([], Source(path="request"), contract, with_target=False)
    table = pa.Table.from_pandas(frame.assign(colour=frame["colour"].astype(words), x=frame["x"].clip(upper=2)))
    checked = reader.check(table.slice(5), "request")
    assert checked.accepted.column("colour").to_pylist() == frame["colour"].tolist()[5:]
    with pytest.raises(DataError, match="request: column 'x' is missing"):
        reader.check(table.drop_columns(["x"]), "request")


def test_rows_are_numbered_on_from_check_to_check(contract, frame):
    reader = RowReader([], Source(path="request"), contract, with_target=False)
    table = pa.Table.from_pandas(frame[:3].assign(x=[1.0, 99, 1]))
    numbers = [reader.check(table, "request").accepted.column("_row").to_pylist() for _ in range(2)]
    assert numbers == [[0, 2], [3, 5]]
    assert reader.rejections.summary() == "x is above the maximum 2 (2: request row 1 '99.0', request row 4 '99.0')"


def test_tensors_of_arrow_itself_are_taken(ingest_request, ingested):
    images = np.arange(240, dtype=np.float32).reshape(60, 2, 2)
    rows = pa.table({"x": pa.FixedShapeTensorArray.from_numpy_ndarray(images), "y": ["no", "yes"] * 30})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_table(rows)
    request = ingest_request(
        sink.getvalue().to_pybytes(), name="a.arrow", columns={"x": {"kind": "tensor", "shape": [2, 2]}}
    )
    _, accepted, _ = ingested(request)
    assert accepted.column("x").to_pylist() == images.reshape(60, 4).tolist()


def test_bytes_that_are_text_are_taken_as_text(ingest_request, ingested, frame):
    rows = frame.assign(colour=frame["colour"].str.encode("utf-8"))
    columns = {"colour": {"kind": "one_hot"}, "x": {"kind": "numeric"}}
    _, accepted, _ = ingested(ingest_request(rows, name="a.parquet", columns=columns))
    assert accepted.column("colour").to_pylist() == frame["colour"].tolist()
