"""Encode as a stage: what it publishes, what it depends on, and what it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_wine

from schemas.contract import Contract
from schemas.data import ColumnSplit, Source
from schemas.document import digest
from schemas.errors import DataError, ResourceError
from schemas.stages import EncodeRequest, EncodeResult, IngestRequest, IngestResult, Input
from tasks import encode, ingest
from tasks.encoders.table import TableEncoder

SPLITS = ("train", "validation", "test")
CONTRACT = {
    "problem": "multiclass",
    "target": {"column": "cultivar"},
    "weight": "trust",
    "split": "split",
    "columns": {
        "alcohol": {"kind": "numeric"},
        "magnesium": {"kind": "numeric", "scale": "robust"},
        "hue": {"kind": "numeric", "scale": "none"},
        "colour": {"kind": "one_hot"},
        "cellar": {"kind": "embedding", "size": 2},
        "bottled": {"kind": "datetime", "parts": ["year", "month"]},
        "pair": {"kind": "tensor", "shape": [2]},
    },
}


@pytest.fixture
def wines() -> pd.DataFrame:
    """178 wines of three cultivars, and the split of each."""
    frame = load_wine(as_frame=True).frame
    row = frame.index
    return pd.DataFrame(
        {
            "alcohol": frame.alcohol.where(row % 10 > 0),
            "magnesium": frame.magnesium,
            "hue": frame.hue,
            "colour": pd.cut(frame.color_intensity, [0, 3, 6, 99], labels=["pale", "ruby", "dark"]).astype(str),
            "cellar": "cellar " + (row % 7).astype(str),
            "bottled": pd.Timestamp("1991-01-01") + pd.to_timedelta(row, unit="D"),
            "pair": frame.ash.astype(str) + " " + frame.flavanoids.astype(str),
            "trust": 1.0 + row % 2,
            "cultivar": np.array(["barolo", "grignolino", "barbera"])[frame.target],
            "split": np.array(["train", "train", "validation", "train", "test"])[row % 5],
        }
    )


@pytest.fixture
def ingested(tmp_path):
    """Let ingest take a frame, in a workspace of its own for each name."""

    def run(frame: pd.DataFrame, name: str = "a") -> IngestResult:
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        return ingest.run(
            IngestRequest(
                workspace=str(tmp_path / name),
                source=Source(path=str(tmp_path / f"{name}.csv")),
                contract=Contract.model_validate(CONTRACT),
                split=ColumnSplit(column="split"),
            )
        )

    return run


def encoded(source: IngestResult) -> EncodeResult:
    return encode.run(EncodeRequest(workspace=str(Path(source.path).parents[1]), ingest=source.as_input))


def test_every_accepted_row_is_encoded(ingested, wines):
    source = ingested(wines)
    result = encoded(source)
    assert set(result.files) == {"encoder.json", "unknown.json", *(f"features/{split}.parquet" for split in SPLITS)}
    rows = [pq.read_metadata(f"{result.path}/features/{split}.parquet").num_rows for split in SPLITS]
    assert rows == [source.rows.train, source.rows.validation, source.rows.test] == [107, 36, 35]


def test_features_are_named_and_typed(ingested, wines):
    result = encoded(ingested(wines))
    schema = pq.read_schema(f"{result.path}/features/test.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("alcohol", "float"),
        ("alcohol=missing", "float"),
        ("magnesium", "float"),
        ("hue", "float"),
        ("colour=dark", "float"),
        ("colour=pale", "float"),
        ("colour=ruby", "float"),
        ("bottled.year", "float"),
        ("bottled.month", "float"),
        ("cellar", "int32"),
        ("pair", "fixed_size_list<element: float>[2]"),
        ("_target.0", "int32"),
        ("_weight", "float"),
    ]
    assert result.features == 12


def test_every_split_carries_the_encoders_digest(ingested, wines):
    result = encoded(ingested(wines))
    expected = digest(TableEncoder.load(Path(result.path, "encoder.json")).model_dump(mode="json")).encode()
    schemas = [pq.read_schema(f"{result.path}/features/{split}.parquet") for split in SPLITS]
    assert [schema.metadata[b"evermodel.encoder"] for schema in schemas] == [expected] * 3


def test_training_split_is_standardised_and_the_others_by_its_figures(ingested, wines):
    result = encoded(ingested(wines))
    train, test = (pq.read_table(f"{result.path}/features/{split}.parquet") for split in ("train", "test"))
    known = wines.alcohol[wines.split == "train"]
    expected = (wines.alcohol[wines.split == "test"].fillna(known.median()) - known.mean()) / known.std(ddof=0)
    present = train.column("alcohol=missing").to_numpy() == 0
    assert train.column("alcohol").to_numpy()[present].mean() == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(test.column("alcohol").to_numpy(), expected, rtol=1e-5, atol=1e-6)


def test_same_rows_give_the_same_bytes_in_two_workspaces(ingested, wines):
    first, second = encoded(ingested(wines, "a")), encoded(ingested(wines, "b"))
    assert first.path != second.path
    assert first.run_key == second.run_key
    assert first.files == second.files


def test_same_request_returns_what_stands(ingested, wines):
    source = ingested(wines)
    assert encoded(source) == encoded(source)


def test_validation_and_test_rows_do_not_touch_the_encoder(ingested, wines):
    held_out = wines.split != "train"
    changed = wines.assign(
        alcohol=wines.alcohol.mask(held_out, 99),
        magnesium=wines.magnesium.mask(held_out, -5),
        colour=wines.colour.mask(held_out, "blue"),
        cellar=wines.cellar.mask(held_out, "elsewhere"),
        bottled=wines.bottled.mask(held_out, pd.Timestamp("2024-02-29")),
        pair=wines.pair.mask(held_out, "1000 -1000"),
        cultivar=wines.cultivar.mask(held_out, "barolo"),
    )
    before, after = encoded(ingested(wines, "a")), encoded(ingested(changed, "b"))
    assert before.files["encoder.json"] == after.files["encoder.json"]
    assert before.files["features/train.parquet"] == after.files["features/train.parquet"]
    assert before.files["features/test.parquet"] != after.files["features/test.parquet"]


def test_unknown_categories_are_counted_and_said(ingested, wines):
    new = wines.colour.mask((wines.split == "validation") & (wines.index % 2 == 0), "blue")
    result = encoded(ingested(wines.assign(colour=new)))
    shares = json.loads(Path(result.path, "unknown.json").read_text())
    assert shares == {"train": {}, "validation": {"colour": 0.5}, "test": {}}
    said = "column 'colour': 50.0% of the validation rows have a category that is unknown or too rare in training"
    assert result.warnings == [said]


def test_column_without_a_value_in_training_is_left_out_and_said(ingested, wines):
    result = encoded(ingested(wines.assign(hue=wines.hue.mask(wines.split == "train"))))
    assert "hue" not in pq.read_schema(f"{result.path}/features/train.parquet").names
    assert result.warnings == ["column 'hue' has no value in the training split and was left out"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda wines: {"hue": wines.hue.mask(wines.index == 4, 1e39)}, r"column 'hue', row 4 .*too large for float32"),
        (lambda wines: {"trust": wines.trust.mask(wines.index == 4, 1e39)}, "sample weight, row 4 .*too large"),
    ],
    ids=["number", "weight"],
)
def test_refused_row_of_the_test_split_is_named_and_nothing_published(ingested, wines, change, message):
    source = ingested(wines.assign(**change(wines)))
    with pytest.raises(DataError, match=message):
        encoded(source)
    assert list(Path(source.path).parents[1].joinpath("encode").iterdir()) == []


@pytest.mark.parametrize("name", ["contract.json", "rows/train.parquet", "rows/test.parquet"])
def test_changed_input_is_refused_before_it_is_parsed(ingested, wines, name):
    source = ingested(wines)
    Path(source.path, name).write_bytes(b"no such format")
    with pytest.raises(ResourceError, match=f"{name} was changed"):
        encoded(source)


def test_another_input_than_asked_for_is_refused(ingested, wines):
    source = ingested(wines)
    request = EncodeRequest(workspace=source.path, ingest=source.as_input.model_copy(update={"digest": "0" * 64}))
    with pytest.raises(ResourceError, match="is not what was asked for"):
        encode.run(request)


def test_command_publishes_as_the_function_does(ingested, wines, tmp_path):
    source = ingested(wines)
    request = EncodeRequest(workspace=str(tmp_path / "elsewhere"), ingest=source.as_input)
    (tmp_path / "request.json").write_text(request.to_json())
    command = [sys.executable, "-m", "tasks.encode", str(tmp_path / "request.json")]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert EncodeResult.model_validate_json(ended.stdout).files == encoded(source).files


def test_an_input_named_by_its_path_alone_enters_the_key_by_its_content(tmp_path):
    keys = []
    for name, files in (("a", {"x": "1"}), ("b", {"x": "2"}), ("c", {"x": "1"})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps({"files": files}))
        keys.append(encode.run_key(EncodeRequest(ingest=Input(path=str(tmp_path / name)))))
    assert keys[0] == keys[2] != keys[1]
    pinned = Input(path="elsewhere", digest=digest({"x": "1"}))
    assert encode.run_key(EncodeRequest(ingest=pinned)) == keys[0]
