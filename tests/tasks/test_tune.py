"""R34: tune as a stage, on real data that ingest and encode prepared."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from optuna.trial import TrialState

from flows.requests import ingest_request, train_request, tune_request
from schemas.errors import DataError, ResourceError, TrainingError
from schemas.spec import Spec
from schemas.spec_file import read_spec
from schemas.stages import EncodeRequest, EncodeResult, IngestResult, Input, TuneRequest, TuneResult
from tasks import encode, evaluation, ingest, metrics, train, tune
from tasks.bundle import Bundle
from tasks.examples import write_example
from tasks.training import devices
from tasks.tuning import record, trainer
from tasks.tuning.trainer import LocalTrainer

SPACE = {
    "network.hidden": {"layers": {"low": 0, "high": 2}, "units": {"low": 4, "high": 16, "log": True}},
    "training.optimizer.learning_rate": {"low": 1e-3, "high": 1e-1, "log": True},
    "training.batch_size": [32, 128],
}


class Prepared:
    """The breast-cancer example, ingested and encoded, in a workspace that tests of this module share."""

    def __init__(self, folder: Path) -> None:
        self.workspace = str(folder / "ws")
        path = write_example("breast-cancer", folder)
        self.spec: Spec = read_spec(path, overrides=("training.epochs=6", "network.hidden=[8]"))
        self.ingest: IngestResult = ingest.run(ingest_request(self.spec, workspace=self.workspace))
        self.encode: EncodeResult = encode.run(EncodeRequest(workspace=self.workspace, ingest=self.ingest.as_input))

    def asked(self, tmp_path: Path, **tuning: Any) -> TuneRequest:
        """A request to tune, in a workspace of the test's own."""
        tree = self.spec.model_dump(mode="json") | {"tuning": {"trials": 4, "space": SPACE} | tuning}
        spec = Spec.model_validate(tree)
        return tune_request(spec, workspace=str(tmp_path / "ws"), ingest=self.ingest, encode=self.encode)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("tune"))


@pytest.fixture(scope="module")
def tuned(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> TuneResult:
    """Four trials over the space above."""
    return tune.run(prepared.asked(tmp_path_factory.mktemp("tuned")))


def study_of(result: TuneResult) -> dict[str, Any]:
    return json.loads(Path(result.path, "study.json").read_text())


def test_best_trial_is_what_is_published_and_train_reaches_its_loss(prepared, tuned, tmp_path):
    result, trials = tuned, study_of(tuned)["trials"]
    complete = [trial for trial in trials if trial["state"] == "complete"]
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4]
    assert trials[0]["settings"] == {}  # the spec as it stands
    assert all(trial["settings"].keys() == SPACE.keys() for trial in trials[1:])
    assert result.validation_loss == min(trial["validation_loss"] for trial in complete)
    assert (
        result.settings
        == trials[result.trial - 1]["settings"]
        == json.loads(Path(result.path, "best.json").read_text())
    )
    with Path(result.path, "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["validation_loss"]) for row in rows] == [trial["validation_loss"] for trial in trials]
    assert rows[0]["network.hidden"] == "[8]"

    known = {"ingest": prepared.ingest, "encode": prepared.encode}
    spec = prepared.spec.settled(result.settings)
    trained = train.run(train_request(spec, workspace=str(tmp_path / "ws"), **known))
    assert trained.validation_loss == pytest.approx(result.validation_loss, rel=1e-5)


def test_a_trial_writes_no_checkpoints_that_nobody_reads(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    trainer, written = LocalTrainer(prepared.asked(tmp_path), disk=tmp_path), set[Path]()

    def goes_on(epoch: int, loss: float) -> bool:
        written.update(tmp_path.rglob("*.npz"))
        return epoch < 2

    assert trainer.fit({}, goes_on).epochs == 2
    assert written == set()


def test_other_seeds_give_other_settings(prepared, tuned, tmp_path):
    other = tune.run(prepared.asked(tmp_path, seed=1, trials=2))
    assert study_of(other)["trials"][0] == study_of(tuned)["trials"][0]
    assert study_of(other)["trials"][1] != study_of(tuned)["trials"][1]


def test_same_request_gives_the_same_bytes_although_test_rows_are_gone(prepared, tuned, tmp_path):
    kept = {}
    for path in (Path(prepared.encode.path, "features/test.parquet"), Path(prepared.ingest.path, "rows/test.parquet")):
        kept[path] = path.read_bytes()
        path.write_bytes(b"no rows at all")
    try:
        assert tune.run(prepared.asked(tmp_path)).files == tuned.files
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


def test_trials_side_by_side_share_the_memory_for_rows(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "_host_bytes", lambda: 16 << 30)
    trainer = LocalTrainer(prepared.asked(tmp_path, parallel=4), disk=tmp_path)
    assert trainer._asked({"training.batch_size": 64}).training.memory_mb == 1024


@pytest.mark.parametrize(
    ("metric", "best", "parallel"),
    [("roc_auc", max, 1), pytest.param("brier_score", min, 2, marks=pytest.mark.slow)],
)
def test_trials_are_compared_by_a_metric_of_the_validation_rows(prepared, tmp_path, metric, best, parallel):
    result = tune.run(prepared.asked(tmp_path, metric=metric, parallel=parallel, trials=3))
    study = study_of(result)
    values = [trial["metric"] for trial in study["trials"] if trial["state"] == "complete"]
    assert (study["metric"], result.metric) == (metric, best(values))
    assert study["trials"][result.trial - 1]["settings"] == result.settings

    known = {"ingest": prepared.ingest, "encode": prepared.encode}
    asked = train_request(prepared.spec.settled(result.settings), workspace=str(tmp_path / "ws"), **known)
    bundle = Bundle(Input(path=str(Path(train.run(asked).path, "bundle"))))
    scored = evaluation.score(bundle, Path(prepared.ingest.path), "validation")
    assert metrics.compute(scored)[metric] == pytest.approx(result.metric, rel=1e-5)


def test_metric_without_a_value_on_the_validation_rows_is_refused_before_a_trial(
    prepared, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO", logger="evermodel")
    (tmp_path / "undefined.py").write_text("def undefined_error(y_true, y_pred):\n    return float('nan')\n")
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "undefined")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match=r"tuning.metric: undefined_error has no value on the \d+ validation rows"):
        tune.run(prepared.asked(tmp_path, metric="undefined:undefined_error"))
    assert "tune: trial" not in caplog.text


@pytest.mark.slow
def test_a_trial_that_fails_is_told_and_the_others_go_on(prepared, tmp_path):
    space = {"training.optimizer.learning_rate": [1e-2, 1e30]}
    result = tune.run(prepared.asked(tmp_path, space=space, trials=5, sampler="random"))
    trials = study_of(result)["trials"]
    states = {(trial["settings"] or {"": 0.0}).popitem()[1]: trial["state"] for trial in trials}
    assert states[1e30] == "failed"
    assert "learning_rate" in next(trial["reason"] for trial in trials if trial["state"] == "failed")
    assert any("trials failed" in warning for warning in result.warnings)
    assert result.settings != {"training.optimizer.learning_rate": 1e30}


def test_no_trial_that_ends_well_is_an_error(prepared, tmp_path):
    asked = prepared.asked(tmp_path, space={"training.batch_size": [32, 64]}, trials=2)
    optimizer = asked.training.optimizer.model_validate({"name": "sgd", "learning_rate": 1e30})
    asked = asked.model_copy(update={"training": asked.training.model_copy(update={"optimizer": optimizer})})
    with pytest.raises(TrainingError, match=r"no trial came to its end: epoch 1.*learning_rate"):
        tune.run(asked)
    assert not list((tmp_path / "ws").rglob("study.log"))  # it would fail again


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_poor_trials_are_ended_early(prepared, tmp_path, pruner):
    space = {"training.optimizer.learning_rate": {"low": 1e-6, "high": 1e-1, "log": True}}
    asked = prepared.asked(tmp_path, space=space, trials=9, pruner=pruner, sampler="random")
    asked = asked.model_copy(update={"training": asked.training.model_copy(update={"epochs": 12})})
    trials = study_of(tune.run(asked))["trials"]
    ended = [trial for trial in trials if trial["state"] == "pruned"]
    assert ended and all(5 <= trial["epochs"] < 12 for trial in ended)
    assert min(ended, key=lambda trial: trial["number"])["number"] > 1
    best = min(trial["validation_loss"] for trial in trials if trial["state"] == "complete")
    assert best < min(trial["validation_loss"] for trial in ended)


def test_time_ends_a_study_after_its_first_trial(prepared, tmp_path):
    result = tune.run(prepared.asked(tmp_path, trials=None, minutes=1e-4))
    assert [trial["state"] for trial in study_of(result)["trials"]] == ["complete"]
    assert result.settings == {}


def journal_of(workspace: Path) -> list[dict[str, Any]]:
    """The lines of the study's journal that add a trial."""
    for path in workspace.glob("checkpoints/*/study.log"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if "params" in line]
    return []


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)])
def test_stopped_study_goes_on_and_ends_as_one_that_was_not(prepared, tuned, tmp_path, caplog, stop, code):
    caplog.set_level("INFO", logger="evermodel")
    asked = prepared.asked(tmp_path)
    request = tmp_path / "request.json"
    request.write_text(asked.to_json())
    process = subprocess.Popen([sys.executable, "-m", "tasks.tune", str(request)], stderr=subprocess.PIPE)
    while len(journal_of(tmp_path / "ws")) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(stop)
    process.communicate()
    assert process.returncode == code
    assert not list((tmp_path / "ws" / "tune").glob("[!.]*"))
    (journal,) = (tmp_path / "ws").glob("checkpoints/*/study.log")
    with journal.open("a") as file:
        file.write('{"op_code": 4, "cut')  # as when the disk was written to
    caplog.set_level("INFO", logger="evermodel")
    resumed = tune.run(asked)
    assert "goes on after trial" in caplog.text
    assert len([line for line in caplog.messages if line.startswith("tune: trial")]) <= 2
    assert not journal.exists()
    assert resumed.files == tuned.files


def test_journal_stays_until_the_study_is_published(prepared, tuned, tmp_path, caplog, monkeypatch):
    asked = prepared.asked(tmp_path)

    def full(*_given):
        raise OSError(errno.ENOSPC, "No space left on device", "trials.csv")

    with monkeypatch.context() as disk:
        disk.setattr(record.Study, "write_table", full)
        with pytest.raises(ResourceError, match="No space left"):
            tune.run(asked)
    assert len(journal_of(tmp_path / "ws")) == 4
    caplog.set_level("INFO", logger="evermodel")
    assert tune.run(asked).files == tuned.files
    assert "goes on after trial 4" in caplog.text
    assert "tune: trial" not in caplog.text
    assert not list((tmp_path / "ws").glob("checkpoints/*"))


LOSING = """
import os
import keras
import tensorflow as tf

@keras.saving.register_keras_serializable(package="losing")
class Losing(keras.Model):
    def train_step(self, data):
        if self.get_layer("mine").units > 3 and os.path.exists(os.environ["LOST"]):
            raise tf.errors.InternalError(None, None, "CUDA_ERROR_ECC_UNCORRECTABLE")
        return super().train_step(data)

def build(inputs, units=3):
    return Losing(inputs, keras.layers.Dense(units, name="mine")(inputs["numbers"]))
"""


@pytest.mark.slow
def test_device_that_fails_ends_the_study_which_goes_on_when_it_is_run_again(prepared, tmp_path, monkeypatch):
    asked = own_network(prepared, tmp_path, monkeypatch, LOSING, trials=2, parallel=2)
    (lost := tmp_path / "lost").touch()
    monkeypatch.setenv("LOST", str(lost))
    with pytest.raises(ResourceError, match=r"^CPU:0 failed in training \(CUDA_ERROR_ECC_UNCORRECTABLE\); look at"):
        tune.run(asked)
    assert not list((tmp_path / "ws" / "tune").glob("[!.]*"))
    assert {trial["state"] for trial in journal_of(tmp_path / "ws")} <= {TrialState.COMPLETE}  # one at the most
    lost.unlink()
    trials = study_of(tune.run(asked))["trials"]
    assert [trial["state"] for trial in trials] == ["complete"] * 2


def test_device_that_fails_when_a_trial_is_judged_ends_the_study_as_well(prepared, tmp_path, monkeypatch):
    def lost(*_given):
        raise tf.errors.InternalError(None, None, "CUDA_ERROR_ECC_UNCORRECTABLE")

    monkeypatch.setattr(trainer, "_outputs", lost)
    with pytest.raises(ResourceError, match=r"^the device failed in training \(CUDA_ERROR_ECC_UNCORRECTABLE\)"):
        tune.run(prepared.asked(tmp_path, metric="roc_auc", trials=2))
    assert not list((tmp_path / "ws" / "tune").glob("[!.]*"))


def own_network(prepared, tmp_path, monkeypatch, source: str, **tuning: Any) -> TuneRequest:
    """A request to tune the units, 4 or 5, of a network that a module of the user's own builds."""
    (tmp_path / "mortal.py").write_text(source)
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "mortal")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mortal", raising=False)
    asked = prepared.asked(tmp_path, space={"training.batch_size": [64]}, **tuning)
    tree = asked.model_dump(mode="json") | {"network": {"kind": "custom", "builder": "mortal:build"}}
    tree["tuning"]["space"], tree["training"]["epochs"] = {"network.units": [4, 5]}, 2
    return TuneRequest.model_validate(tree)


@pytest.mark.slow
def test_trials_side_by_side_are_as_many_as_asked_for(prepared, tuned, tmp_path):
    result = tune.run(prepared.asked(tmp_path, parallel=2, trials=5))
    trials = study_of(result)["trials"]
    assert [trial["number"] for trial in trials] == [1, 2, 3, 4, 5]
    alone = study_of(tuned)["trials"]
    assert trials[0]["validation_loss"] == pytest.approx(alone[0]["validation_loss"], rel=1e-4)


MORTAL = """
import os, signal
def build(inputs, units=4):
    import keras
    if units == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return keras.layers.Dense(units)(keras.layers.Concatenate()([*inputs.values()] * 2))
"""


@pytest.mark.slow
def test_a_process_that_dies_fails_its_trial_alone(prepared, tmp_path, monkeypatch):
    asked = own_network(prepared, tmp_path, monkeypatch, MORTAL, trials=6, parallel=2)
    trials = study_of(tune.run(asked))["trials"]
    states = {trial["settings"].get("network.units"): trial["state"] for trial in trials}
    assert states == {None: "complete", 4: "complete", 5: "failed"}
    assert "killed" in next(trial["reason"] for trial in trials if trial["state"] == "failed")
