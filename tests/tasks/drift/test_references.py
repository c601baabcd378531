"""R42: bundles carry what their data looked like, and evaluate compares new rows with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from schemas.drift import Drift, DriftReport
from schemas.errors import ResourceError
from schemas.reference import Numbers
from schemas.stages import EvaluateResult, Input
from tasks.bundle import Bundle
from tasks.drift import references
from tasks.workspaces import file_digest


@pytest.fixture(scope="module")
def same(chain, champion, made) -> EvaluateResult:
    return chain(made(2), "same", champion)[2]


@pytest.fixture(scope="module")
def shifted(chain, champion, made) -> EvaluateResult:
    return chain(made(2, shift=1.0), "shifted", champion)[2]


def report(evaluated: EvaluateResult) -> DriftReport:
    return DriftReport.load(Path(evaluated.path, "drift.json"))


def test_a_bundle_carries_marginals_of_its_rows_and_of_predictions_of_the_validation_split(champion):
    found = Bundle(champion).reference
    assert (found.rows, [*found.columns], [*found.targets]) == (1000, ["x", "colour", "at"], ["y"])
    ingested = Path(json.loads(Path(champion.path).parent.joinpath("request.json").read_text())["ingest"]["path"])
    rows = pq.read_table(ingested / "rows" / "validation.parquet")
    predicted = Bundle(champion).predict(rows)[:, 1]
    told = found.predictions["probability"]
    assert isinstance(told, Numbers)
    assert np.repeat(told.values, told.counts) == pytest.approx(np.sort(predicted))
    assert found.predictions["prediction"].rows == rows.num_rows


def test_rows_as_before_are_no_drift(same):
    assert not same.drift.drifted
    assert report(same).summary == same.drift
    assert {each.role for each in report(same).columns} == {"feature", "target", "prediction"}


def test_other_rows_are_drift_of_the_column_the_target_and_the_predictions(shifted):
    assert shifted.drift.features == ("x",)
    assert shifted.drift.targets == ("y",)
    assert "probability" in shifted.drift.predictions
    assert shifted.drift.drifted
    assert shifted.drift.reason.startswith("drift in 1 of 2 features, the target and the predictions: most in 'x'")
    page = Path(shifted.path, "report.html").read_text(encoding="utf-8")
    assert "Drift since the champion" in page
    assert shifted.drift.reason[1:].replace("'", "&#39;") in page
    drawn = pd.read_csv(Path(shifted.path, "figures", "drift_1.csv"))
    assert (drawn.champion.sum(), drawn.now.sum()) == (pytest.approx(1), pytest.approx(1))
    middle = (drawn["from"] + drawn["to"]) / 2
    assert (middle * (drawn.now - drawn.champion)).sum() == pytest.approx(1.0, abs=0.15)


def test_without_a_champion_there_is_nothing_to_compare_with(chain, made):
    evaluated = chain(made(1), "champion")[2]
    assert evaluated.drift is None
    assert "drift.json" not in evaluated.files


def test_a_bundle_of_an_older_version_is_a_champion_without_reference(chain, champion, made, tmp_path):
    old = shutil.copytree(champion.path, tmp_path / "bundle")
    (old / "reference.json").unlink()
    manifest = json.loads((old / "bundle.json").read_text())
    del manifest["files"]["reference.json"]
    (old / "bundle.json").write_text(json.dumps(manifest))
    source = Input(path=str(old), digest=file_digest(old / "bundle.json"))
    assert Bundle(source).reference is None
    ingested, _, evaluated = chain(made(2), "same", source)
    assert evaluated.drift is None
    assert references.between(source, ingested.as_input, Drift()) is None


def test_ingested_rows_are_compared_with_a_champion_without_reading_them(chain, champion, made, tmp_path):
    ingested, _, _ = chain(made(2, shift=1.0), "shifted", champion)
    copied = shutil.copytree(ingested.path, tmp_path / "ingest")
    for split in ("train", "validation", "test"):
        (copied / "rows" / f"{split}.parquet").write_bytes(b"")
    found = references.between(champion, Input(path=str(copied)), Drift())
    assert found.summary.features == ("x",)
    assert found.summary.predictions == ()
    ignoring = references.between(champion, Input(path=str(copied)), Drift(ignore=("x", "y")))
    assert not ignoring.summary.drifted
    (copied / "reference.json").write_text("{}")
    with pytest.raises(ResourceError, match=r"reference\.json was changed"):
        references.between(champion, Input(path=str(copied)), Drift())


def test_a_champion_whose_column_is_gone_still_tells_of_drift(chain, champion, made):
    frame: pd.DataFrame = made(2, shift=1.0).drop(columns="colour")
    columns = {"x": {"kind": "numeric"}, "at": {"kind": "datetime"}}
    evaluated = chain(frame, "narrow", champion, columns=columns)[2]
    assert evaluated.champion_metrics is not None
    assert evaluated.drift.features == ("x",)
    assert "feature 'colour' is not there any more" in report(evaluated).notes


def test_a_champion_that_cannot_read_the_rows_still_tells_of_their_drift(chain, champion, made):
    frame: pd.DataFrame = made(2, shift=1.0).assign(colour=range(1000))
    columns = {"x": {"kind": "numeric"}, "colour": {"kind": "numeric"}, "at": {"kind": "datetime"}}
    evaluated = chain(frame, "retyped", champion, columns=columns)[2]
    assert evaluated.champion_metrics is None
    assert "x" in evaluated.drift.features
    assert evaluated.drift.predictions == ()
