"""R34: tuning in the chain, on a real Prefect server and a real registry."""

import re
from pathlib import Path

import pandas as pd
import pytest
from prefect.client.orchestration import get_client

from flows import retrain
from flows.plan import plan
from flows.runners import docker
from schemas.run import RunResult
from schemas.runners import EVERY_RUN, STAGES, Docker
from schemas.spec import Spec
from schemas.stages import TuneRequest
from tasks.registry import Registry

QUICK = {"bootstrap": 0, "importance": 0, "slices": []}


def cached(result: RunResult) -> list[str]:
    return [name for name, stage in result.stages.items() if stage.cached]


def parameters(result: RunResult, workspace: str) -> dict[str, str]:
    """What the registry says of the version that a run made."""
    registry = Registry(workspace=workspace)
    version = registry.find(result.model.name, result.model.version)
    return dict(registry.client.get_run(version.run_id).data.params)


def report_of(result: RunResult) -> str:
    return Path(result.report).read_text(encoding="utf-8")


def test_a_container_of_tune_is_trains_image_with_another_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERMODEL_CACHE", str(tmp_path / "cache"))
    known = {name: {"path": str(tmp_path), "digest": "1"} for name in ("ingest", "encode")}
    request = TuneRequest.model_validate(known | {"workspace": str(tmp_path / "ws")})
    options = docker.options("tune", request, Docker(), tmp_path, "model")
    assert options["entrypoint"] == ["python", "-m", "tasks.tune"]
    assert docker.options("train", request, Docker(), tmp_path, "model")["entrypoint"] is None  # the image's own
    assert [docker.target("tune", request, Docker(gpu=gpu)) for gpu in (None, "all")] == ["train", "train-gpu"]
    writable = {mount["Target"] for mount in options["mounts"] if not mount["ReadOnly"]}
    assert writable == {str(tmp_path / name) for name in ("ws/tune", "ws/checkpoints", "cache/timings")}


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_tuned_settings_are_trained_with_recorded_and_used_again(
    spec: Spec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space = {"network.hidden": [[4], [16], [32]], "training.optimizer.learning_rate": {"low": 0.01, "high": 0.1}}
    tuning = {"trials": 3, "when": "drift", "space": space}
    spec = Spec.model_validate(spec.model_dump(mode="json") | {"tuning": tuning, "evaluation": QUICK})
    workspace = str(tmp_path / "ws")

    first = retrain(spec, workspace=workspace)
    assert list(first.stages) == list(STAGES)
    settings = parameters(first, workspace)
    assert float(settings["training.optimizer.learning_rate"]) >= 0.01  # Adam's own is 0.001
    assert '<h2 id="tuning">' in report_of(first)
    assert (Path(first.report).parent / "figures" / "tuning_history.csv").is_file()
    with get_client(sync_client=True) as client:
        progress = [each for each in client.read_artifacts() if each.key == "breast-cancer-progress"]
    assert any("trial 3/3" in (each.description or "").replace("\\", "") for each in progress)
    assert cached(retrain(spec, workspace=workspace)) == list(STAGES)

    rows = pd.read_csv(spec.data.path)
    rows.iloc[:-20].to_csv(spec.data.path, index=False)
    caplog.set_level("INFO", logger="evermodel")
    second = retrain(spec, workspace=workspace)
    assert list(second.stages) == list(EVERY_RUN)
    assert "settings of 1 version before are used again (tuning.when: drift)" in caplog.text
    again = parameters(second, workspace)
    for key in ("network.hidden", "training.optimizer.learning_rate"):
        assert again[key] == settings[key]
    assert re.search(r"its settings are those that trial [123] found for version 1, 1 version", report_of(second))
    assert cached(retrain(spec, workspace=workspace)) == list(EVERY_RUN)
    assert any("ingest, encode and train stand" in line for line in plan(spec, workspace))

    rows.assign(**{name: 3 * rows[name] for name in rows.columns[:8] if rows[name].dtype == float}).to_csv(
        spec.data.path, index=False
    )
    third = retrain(spec, workspace=workspace)
    assert list(third.stages) == list(STAGES)
    assert cached(third) == []
    assert "since version 1, for which settings were tuned: " in caplog.text
