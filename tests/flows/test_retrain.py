"""The chain as a Python call, on a real Prefect server and a real registry (R37, R39)."""

import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from prefect.client.orchestration import get_client

import flows
import flows.retrain
from flows import retrain
from schemas.errors import DataError, ResourceError, SpecError
from schemas.named import Metric
from schemas.run import RunResult
from schemas.runners import EVERY_RUN
from schemas.spec import Spec
from schemas.spec_file import read_spec
from schemas.training import EarlyStopping, Gpus
from tasks import decisions
from tasks.examples import write_example
from tasks.registry import Registry
from tasks.tags import COMPARED_WITH

QUICK = ("training.epochs=3", "network.hidden=[8]", "promotion.smoke=0")

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A workspace after one run, to be copied: runs are many here, and each first one costs seconds."""
    folder = tmp_path_factory.mktemp("template")
    spec = read_spec(write_example("breast-cancer", folder), overrides=QUICK)
    return folder / "ws", retrain(spec, workspace=str(folder / "ws"))


@pytest.fixture
def first(template: tuple[Path, RunResult], tmp_path: Path) -> RunResult:
    """The result of the first run, whose output stands in `tmp_path / "ws"`."""
    workspace, result = template
    shutil.copytree(workspace, tmp_path / "ws")
    return RunResult.model_validate_json(result.to_json().replace(str(workspace), str(tmp_path / "ws")))


def cached(result: RunResult) -> list[str]:
    return [name for name, stage in result.stages.items() if stage.cached]


def changed(spec: Spec, part: str, **values: object) -> Spec:
    return spec.model_copy(update={part: getattr(spec, part).model_copy(update=values)})


def test_top_k_above_the_classes_of_the_data_is_refused_before_training(tmp_path: Path) -> None:
    """R15: where the spec does not list the classes, encode is the first to know all of them."""
    top = "evaluation.metrics=[{name: sparse_top_k_categorical_accuracy, k: 11}]"
    spec = read_spec(write_example("digits", tmp_path), overrides=(*QUICK, top))
    with pytest.raises(SpecError, match="SparseTopKCategoricalAccuracy: k 11 is above the 10 classes; give a smaller"):
        retrain(spec, workspace=str(tmp_path / "ws"))
    assert sorted(path.name for path in (tmp_path / "ws").iterdir() if path.name in EVERY_RUN) == ["encode", "ingest"]


def test_retrain_is_the_flow_and_not_the_module() -> None:
    assert retrain is flows.retrain is flows.retrain.fn.__globals__["retrain"]
    assert retrain.name == "retrain"


def test_a_run_ends_with_a_registered_champion_and_a_report(first: RunResult, tmp_path: Path) -> None:
    assert list(first.stages) == list(EVERY_RUN)
    assert cached(first) == []
    assert (first.model.version, first.model.promoted) == ("1", True)
    assert set(first.metrics) == {"train", "validation", "test"}
    assert "<!doctype html>" in Path(first.report).read_text()
    champion = Registry(workspace=str(tmp_path / "ws")).find("breast-cancer", "champion")
    assert champion.aliases == ("challenger", "champion")


@pytest.mark.parametrize("verify", [False, True])
def test_nothing_new_means_nothing_done(first: RunResult, spec: Spec, tmp_path: Path, verify: bool) -> None:
    again = retrain(spec, workspace=str(tmp_path / "ws"), verify=verify)
    assert cached(again) == list(EVERY_RUN)
    assert again.model_copy(update={"stages": {}}) == first.model_copy(update={"stages": {}})


def test_prefect_shows_an_unchanged_stage_as_cached(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    retrain(spec, workspace=str(tmp_path / "ws"))
    with get_client(sync_client=True) as client:
        newest = max(client.read_flow_runs(), key=lambda run: run.created)
        states = {run.name: run.state_name for run in client.read_task_runs() if run.flow_run_id == newest.id}
    assert newest.name == "breast-cancer"
    assert states == dict.fromkeys(EVERY_RUN, "Cached")


def test_a_training_key_reruns_train_and_what_follows(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    again = retrain(changed(spec, "training", batch_size=16), workspace=str(tmp_path / "ws"))
    assert cached(again) == ["ingest", "encode"]
    assert again.champion_metrics == first.metrics["test"]


def test_a_changed_row_reruns_everything(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    data = Path(spec.data.path)
    data.write_text(data.read_text().replace("17.99", "17.98", 1))
    assert cached(retrain(spec, workspace=str(tmp_path / "ws"))) == []


@pytest.mark.parametrize("stage", ["ingest", "encode", "train", "evaluate", "register"])
def test_a_deleted_output_is_made_again(first: RunResult, spec: Spec, tmp_path: Path, stage: str) -> None:
    before = {name: _bytes(first, name) for name in EVERY_RUN[:3]}
    shutil.rmtree(first.stages[stage].path)
    again = retrain(spec, workspace=str(tmp_path / "ws"))
    assert cached(again) == [name for name in EVERY_RUN if name != stage]
    assert {name: _bytes(again, name) for name in EVERY_RUN[:3]} == before
    assert again.model.version == "1"


def test_an_absent_gpu_ends_the_run_before_any_data_is_read(spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"training\.device asks for 8 GPUs, and TensorFlow sees"):
        retrain(changed(spec, "training", device=Gpus(gpus=8)), workspace=str(tmp_path / "ws"))
    assert not (tmp_path / "ws" / "ingest").exists()


def test_an_emptied_registry_is_filled_again(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    Registry(workspace=str(tmp_path / "ws")).client.delete_registered_model("breast-cancer")
    again = retrain(spec, workspace=str(tmp_path / "ws"))
    assert "register" not in cached(again)
    assert again.model.promoted


def test_a_key_that_changes_nothing_ends_where_the_output_is_the_same(
    first: RunResult, spec: Spec, tmp_path: Path
) -> None:
    again = retrain(
        changed(spec, "training", early_stopping=EarlyStopping(patience=21)), workspace=str(tmp_path / "ws")
    )
    assert cached(again) == ["ingest", "encode", "evaluate", "register"]


def test_a_worse_model_is_registered_but_not_promoted(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    worse = changed(spec, "training", epochs=1, optimizer=spec.training.optimizer.model_copy(update={"name": "sgd"}))
    result = retrain(worse, workspace=str(tmp_path / "ws"))
    assert (result.model.version, result.model.promoted) == ("2", False)
    assert "against the champion's" in result.model.reason
    registry = Registry(workspace=str(tmp_path / "ws"))
    assert registry.find("breast-cancer", "champion").version == "1"
    assert registry.find("breast-cancer", "challenger").version == "2"


def test_an_equal_model_is_compared_with_the_champion_and_not_promoted(
    first: RunResult, spec: Spec, tmp_path: Path
) -> None:
    result = retrain(changed(spec, "evaluation", metric=Metric(name="accuracy")), workspace=str(tmp_path / "ws"))
    assert (result.model.version, result.model.promoted) == ("2", False)
    assert result.champion_metrics == result.metrics["test"]
    assert "against the champion's" in result.model.reason


def test_a_better_model_replaces_the_champion_and_rollback_brings_it_back(spec: Spec, tmp_path: Path) -> None:
    workspace = str(tmp_path / "ws")
    retrain(changed(spec, "training", epochs=1), workspace=workspace)
    better = retrain(changed(spec, "training", epochs=30), workspace=workspace)
    assert (better.model.version, better.model.promoted) == ("2", True)
    registry = Registry(workspace=str(tmp_path / "ws"))
    assert registry.rollback("breast-cancer").version == "1"
    assert registry.find("breast-cancer", "champion").version == "1"
    with pytest.raises(ResourceError, match="no champion before it"):
        registry.rollback("breast-cancer")
    same = retrain(changed(spec, "training", epochs=30), workspace=workspace)
    assert (same.nothing_new, same.model.promoted) == (True, False)
    assert same.model.reason.startswith(f"rolled back by {decisions.user()}")
    for worst in (3, 4):
        shown = changed(changed(spec, "training", epochs=30), "evaluation", worst=worst)
        again = retrain(shown, workspace=workspace)
        assert (again.model.version, again.model.promoted) == ("2", False)
        assert f"not promoted: rolled back by {decisions.user()}" in again.model.reason
    asked = changed(changed(spec, "training", epochs=30), "promotion", confidence=0.9)
    again = retrain(asked, workspace=workspace)
    assert (again.model.version, again.model.promoted) == ("3", False)
    assert f"version 2 is the same bundle: rolled back by {decisions.user()}" in again.model.reason
    assert registry.find("breast-cancer", "champion").version == "1"


@pytest.mark.parametrize(("part", "keys"), [("evaluation", {"worst": 7}), ("promotion", {"promote": "approve"})])
def test_what_changes_no_bundle_and_no_verdict_makes_no_second_version(
    first: RunResult, spec: Spec, tmp_path: Path, part: str, keys: dict[str, object]
) -> None:
    """R40: what is registered is told apart by what it is and by what it was asked."""
    again = retrain(changed(spec, part, **keys), workspace=str(tmp_path / "ws"))
    assert "register" not in cached(again)
    assert again.model == first.model
    registry = Registry(workspace=str(tmp_path / "ws"))
    (version,) = registry.versions("breast-cancer")
    assert [each.what for each in decisions.of(version)] == ["promoted"]
    assert registry.report(version).read_bytes() == Path(again.report).read_bytes()
    assert cached(retrain(changed(spec, part, **keys), workspace=str(tmp_path / "ws"))) == list(EVERY_RUN)


def test_a_rerun_compares_with_who_became_champion_meanwhile_and_promotes_no_former_champion(
    first: RunResult, spec: Spec, tmp_path: Path
) -> None:
    workspace, registry = str(tmp_path / "ws"), Registry(workspace=str(tmp_path / "ws"))
    retrain(changed(spec, "training", epochs=1), workspace=workspace)
    registry.promote("breast-cancer", "2", reason="it is smaller", by="Ada")
    again = retrain(spec, workspace=workspace)
    assert (again.model.version, again.model.promoted) == ("1", False)
    assert again.champion_metrics != again.metrics["test"]
    assert "evermodel promote breast-cancer 1 overrules" in again.model.reason
    assert registry.find("breast-cancer", "1").tags[COMPARED_WITH] == "2"
    assert registry.find("breast-cancer", "champion").version == "2"
    assert cached(retrain(spec, workspace=workspace)) == list(EVERY_RUN)


def test_force_runs_every_stage_anew_with_the_same_outcome(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    again = retrain(spec, workspace=str(tmp_path / "ws"), force=True)
    assert cached(again) == []
    assert again.model.version == "1"
    assert again.metrics == first.metrics


def test_the_same_spec_gives_the_same_bytes_in_two_workspaces(first: RunResult, spec: Spec, tmp_path: Path) -> None:
    other = retrain(spec, workspace=str(tmp_path / "elsewhere"))
    assert other.run_key == first.run_key
    for name in ("ingest", "encode", "train", "evaluate"):
        assert _bytes(other, name) == _bytes(first, name)


def test_a_stage_that_fails_raises_its_own_error(spec: Spec, tmp_path: Path) -> None:
    Path(spec.data.path).write_text("")
    with pytest.raises(DataError, match="is empty"):
        retrain(spec, workspace=str(tmp_path / "ws"))
    assert not list((tmp_path / "ws").glob("*/*"))


def _bytes(result: RunResult, stage: str) -> dict[str, bytes]:
    """All that a stage published, but for the two files that carry times and paths."""
    folder = Path(result.stages[stage].path)
    files = {path for path in folder.rglob("*") if path.is_file()} - {folder / "result.json", folder / "request.json"}
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_registered_model_takes_rows_without_their_key(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # MLflow leaves a file where it loads a model
    keyed = changed(spec, "data", key=("mean radius", "mean texture", "mean area"))
    retrain(keyed, workspace=str(tmp_path / "ws"))
    registry = Registry(workspace=str(tmp_path / "ws"))
    model = mlflow.pyfunc.load_model(registry.find("breast-cancer", "champion").source)
    rows = pd.read_csv(spec.data.path).drop(columns="diagnosis").head(3)
    assert list(model.predict(rows).columns) == ["row", "prediction", "probability"]
