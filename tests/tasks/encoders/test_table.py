"""R29: the encoder of a whole table: its inputs, its file, its names, and what it does not look at."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import DataError
from tasks import features
from tasks.encoders.table import TableEncoder, weights
from tasks.tables import TableWriter

MIXED = {
    "tumour": {"kind": "tensor", "shape": [2]},
    "age": {"kind": "numeric", "scale": "robust"},
    "clinic": {"kind": "embedding"},
    "stage": {"kind": "ordinal"},
    "ward": {"kind": "one_hot"},
    "seen": {"kind": "datetime", "cyclical": True},
    "smoker": {"kind": "boolean"},
}
ROWS = {
    "tumour": [[1, 2], None, [3, 4], [0, 8]],
    "age": [40.1, None, 63.7, 55],
    "clinic": ["north", "south", None, "north"],
    "stage": ["I", "II", "I", None],
    "ward": ["a", "b", None, "a"],
    "seen": [0, 86_400_000_000, None, 1_700_000_000_123_456],
    "smoker": [True, None, False, True],
}


def test_inputs_are_numbers_then_embeddings_then_tensors(typed):
    table = typed(MIXED)
    rows = table.rows(**ROWS)
    encoder = table.fit(rows)
    inputs = encoder.transform(rows)
    assert list(inputs) == [slot.name for slot in encoder.slots] == ["numbers", "embedding_0", "tensor_0"]
    assert [(array.dtype.name, array.shape) for array in inputs.values()] == [
        ("float32", (4, len(encoder.slots[0].columns))),
        ("int32", (4,)),
        ("float32", (4, 2)),
    ]
    assert encoder.width == len(encoder.slots[0].columns) + 1 + 2


def test_encoder_read_from_its_file_encodes_the_same_bits(typed, tmp_path):
    table = typed(MIXED, problem="multiclass")
    rows = table.rows(**ROWS, y=["a", "b", "a", "c"])
    encoder = table.fit(rows)
    (tmp_path / "encoder.json").write_text(encoder.to_json())
    again = TableEncoder.load(tmp_path / "encoder.json")
    assert again == encoder
    assert again.to_json() == encoder.to_json()
    for name, values in encoder.transform(rows).items():
        np.testing.assert_array_equal(again.transform(rows)[name], values)
    np.testing.assert_array_equal(again.target.encode(rows), encoder.target.encode(rows))


def test_no_rows_encode_to_no_rows(typed):
    table = typed(MIXED)
    encoder = table.fit(**ROWS)
    none = table.rows(**ROWS).slice(0, 0)
    assert {name: len(values) for name, values in encoder.transform(none).items()} == {
        "numbers": 0,
        "embedding_0": 0,
        "tensor_0": 0,
    }


def test_rows_encode_alike_alone_in_slices_and_in_another_order(typed):
    table = typed(MIXED)
    rows = table.rows(**ROWS)
    encoder = table.fit(rows)
    for name, values in encoder.transform(rows).items():
        alone = [encoder.transform(rows.slice(at, 1))[name] for at in range(4)]
        np.testing.assert_array_equal(np.concatenate(alone), values)
        np.testing.assert_array_equal(encoder.transform(rows.take(pa.array([3, 0, 2, 1])))[name], values[[3, 0, 2, 1]])


@pytest.mark.parametrize("kind", ["numeric", "ordinal", "one_hot", "embedding", "boolean", "datetime"])
def test_column_without_a_value_in_training_is_dropped(typed, kind):
    table = typed({"gone": {"kind": kind}, "age": {"kind": "numeric"}})
    encoder = table.fit(gone=[None, None], age=[1, 2])
    assert encoder.dropped == ("gone",)
    assert encoder.slots[0].columns == ("age",)


def test_table_without_any_value_is_refused(typed):
    with pytest.raises(DataError, match="no feature column has a value in the training split"):
        typed({"gone": {"kind": "numeric"}}).fit(gone=[None, None])


COLLIDING = {
    "a": {"kind": "one_hot", "min_count": 2},
    "a=b": {"kind": "numeric"},
    "a=b#2": {"kind": "embedding"},
    "a=missing": {"kind": "tensor", "shape": [1]},
    "a=(other)": {"kind": "boolean"},
    "_target.0": {"kind": "numeric", "scale": "none"},
}


def test_names_that_collide_give_a_file_that_reads_back(typed, tmp_path):
    table = typed(COLLIDING)
    categories = ["b", "b", "missing", "missing", "(other)", "(other)", "rare", None]
    others = {"a=b": range(8), "a=b#2": list("abcdabcd"), "a=missing": [[each] for each in range(8)]}
    rows = table.rows(a=categories, **others, **{"a=(other)": [True] * 8, "_target.0": range(8)})
    encoder = table.fit(rows)
    layout = features.schema(encoder, weighted=False, encoder_digest="d")
    inputs, target = encoder.transform(rows), encoder.target.encode(rows)
    with TableWriter(tmp_path / "train.parquet", layout) as writer:
        writer.write(features.to_table(inputs, target, None, layout=layout))
    names = pq.read_schema(tmp_path / "train.parquet").names
    assert len(set(names)) == len(names)
    read, target_read, weight = features.read(tmp_path / "train.parquet", encoder)
    for name, values in inputs.items():
        np.testing.assert_array_equal(read[name], values)
    np.testing.assert_array_equal(target_read, target)
    assert weight is None


def test_exotic_names_give_a_file_that_reads_back(typed, tmp_path):
    names = ["", "a\nb", "a/b", "ü😀", "_x", "numbers", "a" * 300]
    table = typed({name: {"kind": "numeric"} for name in names})
    rows = table.rows(**{name: [1, 2] for name in names})
    encoder = table.fit(rows)
    layout = features.schema(encoder, weighted=False, encoder_digest="d")
    with TableWriter(tmp_path / "train.parquet", layout) as writer:
        writer.write(features.to_table(encoder.transform(rows), encoder.target.encode(rows), None, layout=layout))
    assert features.read(tmp_path / "train.parquet", encoder)[0]["numbers"].tolist() == [[-1] * 7, [1] * 7]


def test_weight_too_large_for_float32_is_refused(typed):
    table = typed({"x": {"kind": "numeric"}}, weight="w")
    with pytest.raises(DataError, match=r"the sample weight, row 1 .*too large for float32"):
        weights(table.rows(x=[1, 2], _weight=[1, 1e39]))
