"""R39: networks that are trained anew on training and validation rows before they are published."""

import gc
import json
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.contract import Contract
from schemas.data import ColumnSplit, Source
from schemas.reference import Numbers
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, Input, TrainRequest, TrainResult
from tasks import encode, evaluate, ingest, train
from tasks.bundle import Bundle
from tasks.tables import read_table
from tasks.training import devices

CONTRACT = {
    "problem": "binary",
    "target": {"column": "kind"},
    "columns": {"size": {"kind": "numeric", "scale": "none"}, "age": {"kind": "numeric", "scale": "none"}},
    "split": "split",
}


def rows(*, splits: tuple[str, str] = ("train", "validation"), many: int = 1) -> pd.DataFrame:
    """Rows in the order train, validation, test; the first two may go by other names."""
    random = np.random.default_rng(0)
    count = 300 * many
    size, age = random.normal(size=(2, count))
    named = np.repeat([*splits, "test"], count // 3)
    return pd.DataFrame({"size": size, "age": age, "kind": np.where(size + age > 0, "b", "a"), "split": named})


def request(frame: pd.DataFrame, folder: Path, *, refit: bool = True, **training: Any) -> TrainRequest:
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "rows.csv", index=False)
    contract, source = Contract.model_validate(CONTRACT), Source(path=str(folder / "rows.csv"))
    split = ColumnSplit(column="split")
    ingested = ingest.run(IngestRequest(workspace=str(folder), source=source, contract=contract, split=split))
    encoded = encode.run(EncodeRequest(workspace=str(folder), ingest=ingested.as_input))
    return TrainRequest.model_validate(
        {
            "workspace": str(folder),
            "ingest": ingested.as_input,
            "encode": encoded.as_input,
            "network": {"hidden": [4], "dropout": 0.2},
            "training": {"epochs": 4, "batch_size": 16} | training,
            "refit": refit,
        }
    )


def weights(result: TrainResult) -> list[Any]:
    return [each.numpy() for each in Bundle(Input(path=f"{result.path}/bundle")).network.weights]


def history(result: TrainResult) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(result.path) / "history.json").read_text())
    return found


def test_a_refit_is_the_training_on_both_splits_for_the_best_number_of_epochs(tmp_path: Path) -> None:
    plain = train.run(request(rows(), tmp_path / "a", refit=False))
    refitted = train.run(request(rows(), tmp_path / "a"))
    assert (refitted.best_epoch, refitted.epochs, refitted.refitted, plain.refitted) == (4, 4, True, False)
    assert history(refitted) == history(plain), "the curves are those of the training that found the epochs"

    both = rows(splits=("train", "train"))
    judged = both.tail(100).assign(split=np.where(np.arange(100) % 2, "test", "validation"))
    expected = train.run(request(pd.concat([both.head(200), judged]), tmp_path / "b", refit=False))
    assert expected.best_epoch == 4
    for mine, theirs, first in zip(weights(refitted), weights(expected), weights(plain), strict=True):
        np.testing.assert_array_equal(mine, theirs)
        assert (mine != first).any()


def test_a_refit_from_disk_and_of_members_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = train.run(request(rows(), tmp_path / "a", members=2))
    monkeypatch.setattr(devices, "memory_bytes", lambda *_: 800)
    streamed = train.run(request(rows(), tmp_path / "b", members=2))
    assert here.refitted
    for mine, theirs in zip(weights(here), weights(streamed), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_rows_of_the_training_are_let_go_before_those_of_the_refit_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []
    examples = train.examples

    def noted(*asked: Any, **keys: Any) -> Any:
        assert not [each for each in held if each() is not None]
        found = examples(*asked, **keys)
        held.extend(weakref.ref(each.target) for each in found)
        return found

    asked = request(rows(), tmp_path / "a", epochs=2)
    monkeypatch.setattr(train, "examples", noted)
    gc.disable()
    try:
        assert train.run(asked).refitted
    finally:
        gc.enable()
    assert len(held) == 4


@pytest.mark.slow
def test_a_refit_that_was_killed_goes_on_to_the_same_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = request(rows(many=4), tmp_path / "a", epochs=60, batch_size=4, early_stopping=None)
    expected = train.run(asked)
    elsewhere = asked.model_copy(update={"workspace": str(tmp_path)})
    (tmp_path / "request.json").write_text(elsewhere.to_json())
    command = [sys.executable, "-m", "tasks.train", str(tmp_path / "request.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(tmp_path.glob("checkpoints/*/refit-*.npz")):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not list(tmp_path.glob("train/[!.]*"))
    caplog.set_level("INFO", "evermodel")
    assert train.run(elsewhere).files == expected.files
    assert caplog.text.count("train: goes on after epoch ") == 2, "of the training, and of the refit"


def test_a_refitted_network_is_judged_by_test_rows_and_the_report_says_so(tmp_path: Path) -> None:
    asked = request(rows(), tmp_path / "a")
    trained = train.run(asked)
    result = evaluate.run(evaluation(asked, trained))
    assert set(result.metrics) == {"train", "test"}
    html = (Path(result.path) / "report.html").read_text()
    assert "the published network was refitted" in html
    assert "on training and validation rows" in html


def evaluation(asked: TrainRequest, trained: TrainResult, **keys: Any) -> EvaluateRequest:
    known = {"workspace": asked.workspace, "name": "kinds", "ingest": asked.ingest, "train": trained.as_input}
    learned = {"encode": asked.encode, "network": asked.network, "training": asked.training}
    quick = {"importance": 0, "slices": [], "worst": 0, "bootstrap": 0}
    return EvaluateRequest.model_validate(known | learned | {"evaluation": quick | keys})


def test_what_is_chosen_or_compared_on_validation_rows_does_not_come_from_a_network_that_learned_them(
    tmp_path: Path,
) -> None:
    asked = request(rows(), tmp_path / "a")
    plain, refitted = (train.run(asked.model_copy(update={"refit": refit})) for refit in (False, True))
    before, after = (evaluate.run(evaluation(asked, each, data_sizes=[0.5])) for each in (plain, refitted))
    sizes = [pd.read_csv(f"{each.path}/figures/data_sizes.csv") for each in (before, after)]
    pd.testing.assert_frame_equal(*sizes)  # the last point is the network of the first training for both
    assert sizes[1].rows.tolist() == [50, 100]
    splits = [set(pd.read_csv(f"{each.path}/figures/costs.csv").split) for each in (before, after)]
    assert splits == [{"validation", "test"}, {"test"}]
    pages = [Path(each.path, "report.html").read_text() for each in (before, after)]
    assert ["cheapest on validation" in page for page in pages] == [True, False]


def test_the_reference_of_a_refitted_network_is_what_it_says_of_rows_that_it_has_not_learned(tmp_path: Path) -> None:
    trained = train.run(request(rows(), tmp_path / "a"))
    bundle = Bundle(Input(path=f"{trained.path}/bundle"))
    assert bundle.reference
    told = bundle.reference.predictions["probability"]
    assert isinstance(told, Numbers)
    said = bundle.predict(read_table(next(tmp_path.glob("a/ingest/*/rows/test.parquet"))))[:, 1]
    assert np.repeat(told.values, told.counts) == pytest.approx(np.sort(said))


def test_a_request_without_refit_keeps_its_run_key(tmp_path: Path) -> None:
    plain = request(rows(), tmp_path / "a", refit=False)
    assert "refit" not in plain.identity()
    assert train.run_key(plain) != train.run_key(plain.model_copy(update={"refit": True}))
