"""R41: predict, from raw rows in a file to predictions in a file."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_wine

from schemas.contract import Contract
from schemas.data import HashSplit, Source
from schemas.errors import DataError, ResourceError, SpecError
from schemas.networks import Mlp
from schemas.prediction import PredictRequest, PredictResult
from schemas.stages import EncodeRequest, IngestRequest, Input, TrainRequest
from schemas.training import Training
from tasks import bundle, bundle_contents, encode, ingest, predict, train
from tasks.tables import read_table

CONTRACT = {
    "problem": "multiclass",
    "target": {"column": "cultivar"},
    "key": ["wine"],
    "columns": {"alcohol": {"kind": "numeric", "minimum": 0}, "hue": {"kind": "numeric"}},
}
WINES = load_wine(as_frame=True).frame.assign(
    wine=lambda frame: "wine " + frame.index.astype(str),
    cultivar=lambda frame: np.array(["=barolo", "-1 and a half", "-2"])[frame.target],
)[["wine", "alcohol", "hue", "cultivar"]]
PREDICTED = ["wine", "prediction", "probability_-1 and a half", "probability_-2", "probability_=barolo"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Input:
    """A bundle that tells three cultivars apart by two figures; two of the labels look like formulas."""
    folder = tmp_path_factory.mktemp("wine")
    WINES.to_csv(folder / "wines.csv", index=False)
    workspace, contract = str(folder / "workspace"), Contract.model_validate(CONTRACT)
    source = Source(path=str(folder / "wines.csv"))
    asked = IngestRequest(workspace=workspace, source=source, contract=contract, split=HashSplit())
    ingested = ingest.run(asked).as_input
    encoded = encode.run(EncodeRequest(workspace=workspace, ingest=ingested)).as_input
    network, training = Mlp(hidden=(4,)), Training(epochs=10)
    asked = TrainRequest(workspace=workspace, ingest=ingested, encode=encoded, network=network, training=training)
    directory = Path(train.run(asked).path, "bundle")
    return Input(path=str(directory), digest=bundle_contents.digest(directory))


@pytest.fixture
def score(trained, tmp_path):
    """Write a frame to CSV, score it, and return the result: `score(frame, "out.csv")`."""

    def run(frame: pd.DataFrame, output: str) -> PredictResult:
        frame.to_csv(tmp_path / "raw.csv", index=False)
        source = Source(path=str(tmp_path / "raw.csv"))
        return predict.run(PredictRequest(bundle=trained, source=source, output=str(tmp_path / output)))

    return run


def test_predictions_come_with_their_keys_in_the_order_of_the_rows(score):
    raw = WINES.drop(columns="cultivar").sample(frac=1, random_state=1)
    result = score(raw, "out.parquet")
    said = pq.read_table(result.output).to_pandas()
    assert list(said.columns) == PREDICTED
    assert list(said.wine) == list(raw.wine)
    assert set(said.prediction) <= set(WINES.cultivar)
    best = said[PREDICTED[2:]].to_numpy().argmax(axis=1)
    assert list(said.prediction) == [PREDICTED[2:][at].removeprefix("probability_") for at in best]
    assert (result.rows.read, result.rows.accepted, result.rows.rejected) == (178, 178, 0)
    assert result.rejected_output is None


def test_csv_and_parquet_say_the_same(score):
    score(WINES, "out.parquet")
    score(WINES, "out.csv")
    folder = Path(score(WINES, "again.csv").output).parent
    text = pd.read_csv(folder / "out.csv")
    table = pq.read_table(folder / "out.parquet").to_pandas()
    pd.testing.assert_frame_equal(text[PREDICTED[2:]], table[PREDICTED[2:]])
    assert (folder / "out.csv").read_bytes() == (folder / "again.csv").read_bytes()


def test_prediction_is_the_same_as_for_the_row_that_ingest_checked(trained, score):
    said = pq.read_table(score(WINES.iloc[:5], "out.parquet").output).to_pandas()
    rows = read_table(Path(trained.path).parents[2] / "ingest" / ingest_key(trained) / "rows" / "train.parquet")
    expected = pd.DataFrame(bundle.Bundle(trained).predict(rows), index=rows.column("_key.wine").to_pylist())
    both = expected.index.intersection(said.wine)
    np.testing.assert_array_equal(said.set_index("wine").loc[both, PREDICTED[2:]], expected.loc[both])


def ingest_key(trained: Input) -> str:
    return next((Path(trained.path).parents[2] / "ingest").glob("*/result.json")).parent.name


@pytest.mark.parametrize("key", ["=1+1", "+cmd", "@sum", "-x", "\tx"])
def test_text_that_a_spreadsheet_would_run_is_guarded_in_csv(score, key):
    result = score(WINES.head(3).assign(wine=[key, "-1.5e3", "plain"]), "out.csv")
    said = pd.read_csv(result.output, dtype=str)
    assert list(said.wine) == [f"'{key}", "-1.5e3", "plain"]
    assert set(said.prediction) <= {"'=barolo", "'-1 and a half", "-2"}


def test_formula_stays_as_it_is_in_parquet(score):
    said = pq.read_table(score(WINES.head(1).assign(wine="=1+1"), "out.parquet").output)
    assert said.column("wine").to_pylist() == ["=1+1"]


def test_rows_that_break_the_contract_go_to_a_file_beside_with_their_reasons(score):
    alcohol = WINES.alcohol.astype(str).mask(WINES.index == 3, "-7").mask(WINES.index == 5, "much")
    result = score(WINES.assign(alcohol=alcohol), "out.csv")
    assert (result.rows.read, result.rows.accepted, result.rows.rejected) == (178, 176, 2)
    rejected = pq.read_table(result.rejected_output).to_pylist()
    assert Path(result.rejected_output).name == "out.rejected.parquet"
    assert [row["_row"] for row in rejected] == [3, 5]
    assert "is below the minimum 0" in rejected[0]["reasons"]
    assert "is no number" in rejected[1]["reasons"]
    assert not {"wine 3", "wine 5"} & set(pd.read_csv(result.output).wine)


def test_predictions_are_the_same_for_any_batches_and_number_of_threads(trained, tmp_path, monkeypatch):
    WINES.to_parquet(tmp_path / "raw.parquet")
    found = []
    for batch, cores in ((13, 1), (13, 5), (65_536, 2)):
        monkeypatch.setattr("tasks.sources.columnar._BATCH_ROWS", batch)
        monkeypatch.setattr("os.sched_getaffinity", lambda _process, cores=cores: set(range(cores)))
        source, output = Source(path=str(tmp_path / "raw.parquet")), tmp_path / f"{batch}-{cores}.parquet"
        predict.run(PredictRequest(bundle=trained, source=source, output=str(output)))
        found.append(output.read_bytes())
    assert found[0] == found[1] == found[2]


def test_rejects_of_an_earlier_run_go_when_there_are_none_now(score):
    rejected = score(WINES.assign(alcohol=-1.0), "out.csv").rejected_output
    assert Path(rejected).exists()
    assert score(WINES, "out.csv").rejected_output is None
    assert not Path(rejected).exists()


@pytest.mark.parametrize("output", ["out.csv", "out.parquet", "new/folder/out.csv", "new/folder/out.parquet"])
def test_no_accepted_row_gives_a_file_with_its_columns_alone(score, output):
    result = score(WINES.assign(alcohol=-1.0), output)
    read = pd.read_csv if output.endswith("csv") else pd.read_parquet
    assert list(read(result.output).columns) == PREDICTED
    assert len(read(result.output)) == 0


@pytest.mark.parametrize("output", ["out.xlsx", "out", "out.csv.gz"])
def test_output_of_another_kind_is_refused(score, output):
    with pytest.raises(SpecError, match=r"must end with \.parquet or \.csv"):
        score(WINES, output)


@pytest.mark.parametrize("output", ["raw.csv", "other/../raw.csv", "linked/raw.csv"])
def test_output_in_place_of_the_source_is_refused(score, tmp_path, output):
    (tmp_path / "other").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path)
    with pytest.raises(SpecError, match=r"raw\.csv is the source itself"):
        score(WINES, output)
    assert len(pd.read_csv(tmp_path / "raw.csv")) == 178


def test_old_output_stays_when_the_new_one_fails(score, tmp_path):
    before = Path(score(WINES.assign(alcohol=WINES.alcohol.mask(WINES.index == 1, -1)), "out.csv").output).read_bytes()
    rejected = (tmp_path / "out.rejected.parquet").read_bytes()
    with pytest.raises(DataError, match="column 'hue' is missing"):
        score(WINES.drop(columns="hue"), "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == before
    assert (tmp_path / "out.rejected.parquet").read_bytes() == rejected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.rejected.parquet", "raw.csv"]


def test_output_that_is_a_folder_is_refused(score, tmp_path):
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(ResourceError, match=r"cannot write .*out\.csv"):
        score(WINES, "out.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "raw.csv"]
