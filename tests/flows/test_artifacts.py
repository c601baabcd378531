"""What the Prefect UI shows of a run: artifacts with a history per model, on a real server."""

import base64
import logging
import re
import socket
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import artifacts, retrain
from schemas.promotion import Verdict
from schemas.run import RunResult
from schemas.spec_file import read_spec
from tasks.examples import write_example
from tasks.registry import Registry

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Path, list[RunResult]]:
    """A workspace after a first run with two bad rows and a second one with nothing new."""
    folder = tmp_path_factory.mktemp("shown")
    overrides = ("name=shown_here", "training.epochs=3", "network.hidden=[8]")
    spec = read_spec(write_example("breast-cancer", folder), overrides=overrides)
    rows = Path(spec.data.path)
    lines = rows.read_text().splitlines()
    bad = [",".join(["secret-of-a-row", *line.split(",")[1:]]) for line in lines[1:3]]
    rows.write_text("\n".join([lines[0], *bad, *lines[3:]]) + "\n")
    return folder / "ws", [retrain(spec, workspace=str(folder / "ws")) for _ in range(2)]


def _history(what: str) -> list[Artifact]:
    name = ArtifactFilter(key=ArtifactFilterKey(any_=[f"shown-here-{what}"]))
    with get_client(sync_client=True) as client:
        return sorted(client.read_artifacts(artifact_filter=name), key=lambda each: str(each.created))


def test_a_run_leaves_artifacts_and_one_with_nothing_new_only_says_so(runs: tuple[Path, list[RunResult]]) -> None:
    found = {what: _history(what) for what in ("summary", "plots", "rejects", "verdict", "progress")}
    assert {what: len(each) for what, each in found.items()} == {
        "summary": 2, "plots": 1, "rejects": 1, "verdict": 1, "progress": 1
    }  # fmt: skip
    first, second = (str(each.data) for each in found["summary"])
    assert "Nothing new" not in first
    assert "Nothing new" in second
    assert "| roc\\_auc |" in first
    assert runs[1][0].report in first
    assert "2 of 569 rows rejected" in str(found["rejects"][0].data)
    described = {what: str(each[-1].description).replace("\\", "") for what, each in found.items()}
    assert described["summary"] == "nothing new: version 1 promoted: there is no champion yet"
    assert described["rejects"] == "2 of 569 rows rejected."
    assert described["plots"] == "version 1"
    assert "secret-of-a-row" not in "".join(str(each.data) for history in found.values() for each in history)


def test_the_plots_are_pictures_that_need_no_server(runs: tuple[Path, list[RunResult]]) -> None:
    images = re.findall(r"!\[(.*?)\]\(data:image/png;base64,(.*?)\)", str(_history("plots")[0].data))
    assert images[0][0] == "learning\\_curves"
    assert all(base64.b64decode(data).startswith(b"\x89PNG") for _, data in images)


def test_epochs_show_as_progress_of_the_task_that_trains(runs: tuple[Path, list[RunResult]]) -> None:
    (progress,) = _history("progress")
    with get_client(sync_client=True) as client:
        task = client.read_task_run(progress.task_run_id)
        logs = [each.message for each in client.read_logs()]
    assert task.name == "train"
    assert progress.data == 100
    assert "3/3" in str(progress.description).replace("\\", "")
    assert any(said.startswith("train: epoch 3") for said in logs)


def test_a_server_that_is_away_costs_the_artifacts_alone(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}/api"
    with temporary_settings({PREFECT_API_URL: nobody}), artifacts.progress("away"):
        event = {"stage": "train", "epoch": 1, "epochs": 2}
        logging.getLogger("evermodel.train").warning("train: epoch 1/2", extra={"event": event})
    assert "takes no artifacts, and the run goes on" in caplog.text


def test_text_from_data_is_shown_and_does_nothing() -> None:
    bad = "a|b\n<img src=x> [click](http://evil) `code` **bold**"
    shown = artifacts.verdict(Verdict(better=True, reason=bad, metric="f|1", challenger=0.5))
    assert r"a\|b \<img src\=x\> \[click\]\(http\:\/\/evil\) \`code\` \*\*bold\*\*" in shown
    assert r"|  | f\|1 |" in shown


def test_the_link_to_mlflow_carries_no_password(runs: tuple[Path, list[RunResult]], tmp_path: Path) -> None:
    _, (first, _) = runs
    registry = Registry(workspace=str(tmp_path), tracking_uri="https://user:hidden@mlflow.example.org/base/")
    shown = artifacts.summary(first, registry)
    assert "(https://mlflow.example.org/base/#/models/shown_here/versions/1)" in shown
    assert "hidden" not in shown
