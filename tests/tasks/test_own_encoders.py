"""R22: encoders of the user's own, from the spec to predictions in another process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.contract import Contract
from schemas.data import Source
from schemas.errors import DataError, SpecError, UnloadableError
from schemas.prediction import PredictRequest
from schemas.spec import Spec
from schemas.stages import (
    EncodeRequest,
    EncodeResult,
    EvaluateRequest,
    IngestRequest,
    IngestResult,
    Input,
    TrainRequest,
    TrainResult,
)
from tasks import encode, evaluate, ingest, predict, train
from tasks.bundle import Bundle
from tasks.encoders.table import TableEncoder
from tasks.tables import read_table

OWN = """
import numpy as np

class Shifted:
    def __init__(self, by=1.0):
        self.by, self.seen = by, []

    def observe(self, values):
        self.seen += values[~np.isnan(values)].tolist()

    def state(self):
        return {"mean": float(np.mean(self.seen))}

    def names(self, state):
        return ["shifted", "missing"]

    def transform(self, values, state):
        lost = np.isnan(values)
        return np.column_stack([np.where(lost, 0, values - state["mean"] + self.by), lost])

class Narrow(Shifted):
    def transform(self, values, state):
        return super().transform(values, state)[:, :1]

class Infinite(Shifted):
    def transform(self, values, state):
        return np.full((len(values), 2), np.inf)

class Unnamed(Shifted):
    def names(self, state):
        return ["same", "same"]

class Array(Shifted):
    def state(self):
        return {"mean": np.zeros(2)}

class Forgetful(Shifted):
    def transform(self, values, state):
        return super().transform(values, {"mean": self.seen[0]})

class Quoting(Shifted):
    def transform(self, values, state):
        raise ValueError(f"no size: {values[0]}")

class Half:
    def observe(self, values):
        pass
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's own, which the operator allows beside the examples."""
    (tmp_path / "own_encoders.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "own_encoders,examples")
    yield tmp_path / "own_encoders.py"
    sys.modules.pop("own_encoders", None)


def frame() -> pd.DataFrame:
    """Two hundred flats: the price bends at a size, and a garden, told in a text, adds to it; some are missing."""
    random = np.random.default_rng(0)
    size, garden = random.uniform(20, 120, 200), random.random(200) < 0.5
    price = np.abs(size - 60) + 40 * garden + random.normal(size=200)
    text = np.where(garden, "Quiet flat, GARDEN behind", "Quiet flat on a street")
    missing = np.arange(200) % 20 == 0
    return pd.DataFrame(
        {"size": np.where(missing, np.nan, size), "text": np.where(missing, None, text), "price": price}
    )


def ingested(folder: Path, columns: dict[str, Any]) -> IngestResult:
    """The flats, ingested for some columns."""
    frame().to_parquet(folder / "flats.parquet")
    keys = {"name": "flats", "problem": "regression", "target": {"column": "price"}, "columns": columns}
    spec = Spec.model_validate(keys | {"data": {"path": str(folder / "flats.parquet")}})
    source, contract = Source(path=spec.data.path), Contract.of(spec)
    return ingest.run(IngestRequest(workspace=str(folder), source=source, contract=contract, split=spec.split))


def asked(folder: Path, name: str = "Shifted", **arguments: Any) -> EncodeRequest:
    """What encode is asked to do with sizes and an encoder of the user's own."""
    column = {"kind": "custom", "encoder": f"own_encoders:{name}", "of": "numeric", **arguments}
    return EncodeRequest(workspace=str(folder), ingest=ingested(folder, {"size": column}).as_input)


def encoder_of(result: EncodeResult) -> TableEncoder:
    return TableEncoder.load(Path(result.path, "encoder.json"))


def trained(encoding: EncodeRequest, encoded: EncodeResult, **training: Any) -> TrainResult:
    request = {"workspace": encoding.workspace, "ingest": encoding.ingest, "encode": encoded.as_input}
    return train.run(TrainRequest.model_validate(request | {"training": {"epochs": 2, **training}}))


def bundle_of(result: TrainResult) -> Input:
    return Input(path=f"{result.path}/bundle")


PREDICT = """
import sys
from schemas.prediction import PredictRequest
from tasks import predict

predict.run(PredictRequest.model_validate_json(sys.argv[1]))
"""


def test_examples_learn_and_predict_the_same_in_another_process(tmp_path, own):
    """R22."""
    columns = {
        "size": {"kind": "custom", "encoder": "examples.encoders:PiecewiseLinear", "of": "numeric", "bins": 4},
        "text": {"kind": "custom", "encoder": "examples.encoders:Keywords", "words": 5},
    }
    encoding = EncodeRequest(workspace=str(tmp_path), ingest=ingested(tmp_path, columns).as_input)
    optimizer = {"name": "adam", "learning_rate": 0.03}
    encoded = encode.run(encoding)
    result = trained(encoding, encoded, epochs=40, optimizer=optimizer)
    bundle = Bundle(bundle_of(result))
    assert {"text.flat", "text.garden", "text.street"} < {*encoder_of(encoded).columns[1].outputs}
    rows = read_table(Path(encoding.ingest.path, "rows", "test.parquet"))
    known = rows.filter(rows["size"].is_valid())
    truth, said = known["price"].to_numpy(), bundle.predict(known)[:, 0]
    assert np.corrcoef(truth, said)[0, 1] > 0.9, "no straight line bends at 60, nor does a mean know of gardens"

    reference = bundle.reference
    assert reference is not None
    assert {name: each.kind for name, each in reference.columns.items()} == {"size": "numbers", "text": "numbers"}

    outputs = [str(tmp_path / name) for name in ("here.parquet", "there.parquet")]
    here, there = (
        PredictRequest(bundle=bundle_of(result), source=Source(path=str(tmp_path / "flats.parquet")), output=output)
        for output in outputs
    )
    predict.run(here)
    subprocess.run([sys.executable, "-c", PREDICT, there.model_dump_json()], check=True, capture_output=True)
    pd.testing.assert_frame_equal(*map(pd.read_parquet, outputs))


def test_state_is_json_and_learned_of_training_rows_alone(tmp_path, own):
    request = asked(tmp_path, by=2.0)
    column = json.loads(Path(encode.run(request).path, "encoder.json").read_text())["columns"][0]
    mean = read_table(Path(request.ingest.path, "rows", "train.parquet"))["size"].to_pandas().mean()
    assert column["state"] == {"mean": pytest.approx(mean)}
    assert (column["arguments"], column["names"]) == ({"by": 2.0}, ["shifted", "missing"])


def test_source_is_recorded_and_part_of_the_run_key(tmp_path, own):
    request = asked(tmp_path)
    key, result = encode.run_key(request), trained(request, encode.run(request))
    manifest = Bundle(bundle_of(result))._manifest
    assert manifest.code.keys() == {"own_encoders:Shifted"}
    own.write_text(OWN + "\n")
    assert encode.run_key(request) != key


def test_bundle_does_not_encode_by_another_source_nor_without_permission(tmp_path, own, monkeypatch):
    request = asked(tmp_path)
    result = trained(request, encode.run(request))
    rows = read_table(Path(request.ingest.path, "rows", "test.parquet"))
    own.write_text(OWN + "\n")
    with pytest.raises(UnloadableError, match="column 'size' was encoded by another source of own_encoders:Shifted"):
        Bundle(bundle_of(result)).predict(rows)
    own.write_text(OWN)
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "")
    with pytest.raises(
        UnloadableError, match=r"column 'size' needs own_encoders:Shifted, .* is not allowed; the opera"
    ):
        Bundle(bundle_of(result)).predict(rows)


def test_champion_of_another_source_is_not_gone_on_from_and_ends_no_evaluation(tmp_path, own):
    request = asked(tmp_path)
    champion = bundle_of(trained(request, encode.run(request)))
    again = request.model_copy(update={"champion": champion})
    assert encode.run(again).warnings == []
    own.write_text(OWN + "\n")
    encoded = encode.run(again)
    assert encoded.warnings == [
        "retraining.start champion: training begins afresh, as the source of own_encoders:Shifted has changed"
    ]
    result, champions = trained(request, encoded), {"champion": champion, "champion_version": "1"}
    inputs = {"workspace": request.workspace, "ingest": request.ingest, "train": result.as_input}
    verdict = evaluate.run(EvaluateRequest(name="flats", **inputs, **champions)).verdict
    assert "it does not load (column 'size' was encoded by another source of own_encoders:Shifted" in verdict.reason


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("Narrow", {}, r"Narrow returns numbers of shape \(\d+, 1\); \(\d+, 2\) is wanted, a row for each value and a"),
        ("Unnamed", {}, r"own_encoders:Unnamed names its numbers \['same', 'same'\]; distinct texts are wanted"),
        (
            "Array",
            {},
            r"the state of own_encoders:Array is not JSON \(.* ndarray .*\): return finite numbers, .*tolist",
        ),
        ("Forgetful", {}, "own_encoders:Forgetful fails: IndexError: list index out of range"),
        ("Half", {}, r"own_encoders:Half returns a Half without state, names, transform; an object with observe\(val"),
        ("Shifted", {"buy": 2}, r"own_encoders:Shifted refuses \{'buy': 2\}: TypeError"),
        ("Missing", {}, "own_encoders:Missing cannot be loaded: AttributeError"),
    ],
)
def test_own_encoder_that_cannot_be_used_is_refused(tmp_path, own, name, arguments, message):
    with pytest.raises(SpecError, match=message):
        encode.run(asked(tmp_path, name, **arguments))


def test_numbers_that_are_none_are_told_with_their_row(tmp_path, own):
    request = asked(tmp_path, "Infinite")
    with pytest.raises(
        DataError, match=r"'size', row \d+ .*: own_encoders:Infinite returns no number, or one too large"
    ):
        encode.run(request)


def test_values_in_an_error_of_own_code_are_hidden_where_the_operator_wants_it(tmp_path, own, monkeypatch):
    request = asked(tmp_path, "Quoting")
    with pytest.raises(SpecError, match=r"own_encoders:Quoting fails: ValueError: no size: "):
        encode.run(request)
    monkeypatch.setenv("EVERMODEL_HIDE_VALUES", "1")
    with pytest.raises(SpecError, match=r"own_encoders:Quoting fails: ValueError$"):
        encode.run(request)


def test_encoder_that_the_operator_does_not_allow_is_refused(tmp_path, own, monkeypatch):
    request = asked(tmp_path)
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    with pytest.raises(SpecError, match="own_encoders:Shifted: module own_encoders is not allowed; the operator sets"):
        encode.run(request)
