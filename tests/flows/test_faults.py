"""R39: what a run leaves when something around it fails."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows import retrain
from schemas.errors import DataError, EvermodelError, ResourceError
from schemas.run import RunResult
from schemas.spec import Spec
from schemas.spec_file import read_spec
from tasks.examples import write_example
from tasks.registry import Registry

NAME = "breast-cancer"
LOG = logging.getLogger("evermodel.evaluate")

Evermodel = Callable[..., subprocess.CompletedProcess[str]]


def test_a_server_that_does_not_answer_is_told_in_one_message(evermodel: Evermodel) -> None:
    evermodel("example", NAME)
    done = evermodel("run", f"{NAME}.yaml", check=False, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 4
    assert "no Prefect server answers at http://127.0.0.1:9/api; start one, or set PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_server_that_is_started_again_ends_no_run_and_one_that_goes_away_does(
    mortal_prefect: Any, evermodel: Evermodel, tmp_path: Path
) -> None:
    """The first run finds the server again, the second one does not: what it published stands all the same."""
    evermodel("example", NAME)
    command = ["run", f"{NAME}.yaml", "--set", "promotion.smoke=0"]
    address, workspace = f"{mortal_prefect.address}/api", tmp_path / ".evermodel"

    def run(*more: str, sign: signal.Signals, **settings: str) -> subprocess.Popen[bytes]:
        """Start a run, and end the server as soon as the network is trained."""
        environment = {**os.environ, "PREFECT_API_URL": address, "HOME": str(tmp_path / "home"), **settings}
        whole = [sys.executable, "-m", "flows.cli", *command, *more]
        with (tmp_path / "run.log").open("w") as log:
            process = subprocess.Popen(whole, cwd=tmp_path, env=environment, stdout=log, stderr=log)
        while not list(workspace.glob("train/.scratch-*")):
            assert process.poll() is None, (tmp_path / "run.log").read_text()
            time.sleep(0.01)
        mortal_prefect.end(sign)
        return process

    process = run(sign=signal.SIGKILL)
    mortal_prefect.start()
    assert process.wait(300) == 0, (tmp_path / "run.log").read_text()
    assert versions(workspace) == [("1", ("challenger", "champion"))]

    other = ("--set", "training.batch_size=16")
    lost = run(*other, sign=signal.SIGTERM, PREFECT_CLIENT_MAX_RETRIES="0")  # by default it tries for minutes
    assert lost.wait(300) == 4
    said = (tmp_path / "run.log").read_text()
    assert f"error: the Prefect server at {address} answers no more" in said
    assert "Traceback" not in said
    stood = published(workspace)
    assert sum(path.parts[-3] == "train" for path in stood) == 2
    evermodel(*command, *other)
    assert {path: published(workspace)[path] for path in stood} == stood
    assert [version for version, _ in versions(workspace)] == ["2", "1"]


def published(workspace: Path) -> dict[Path, float]:
    """Return what stands in a workspace, and since when."""
    return {path: path.stat().st_mtime for path in sorted(workspace.glob("*/*/result.json"))}


def versions(workspace: Path) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.version, each.aliases) for each in Registry(workspace=str(workspace)).versions(NAME)]


@pytest.mark.slow
def test_a_registry_that_hangs_at_register_fails_the_run_which_goes_on_there_when_it_is_back(
    mortal_mlflow: Any, spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: str
) -> None:
    """It answers until evaluate is nearly done."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mortal_mlflow.address)
    tasks = retrain.fn.__globals__["_TASKS"]
    monkeypatch.setitem(tasks, "register", tasks["register"].with_options(retry_delay_seconds=[0, 0, 0]))

    class Hold(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("evaluate: importance"):
                mortal_mlflow.send(signal.SIGSTOP)
                monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
                monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    hold, workspace = Hold(), tmp_path / "ws"
    LOG.addHandler(hold)
    try:
        with pytest.raises(ResourceError, match=f"the registry at {mortal_mlflow.address} refuses: "):
            retrain(spec, workspace=str(workspace))
    finally:
        LOG.removeHandler(hold)
        mortal_mlflow.send(signal.SIGCONT)
    assert not list(workspace.glob("register/*"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "120")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    result = retrain(spec, workspace=str(workspace))
    assert cached(result) == ["ingest", "encode", "train", "evaluate"]
    assert versions(workspace) == [("1", ("challenger", "champion"))]


def cached(result: RunResult) -> list[str]:
    return [name for name, stage in result.stages.items() if stage.cached]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> tuple[Path, Spec]:
    """A folder with data, and the workspace `ws` with a champion that was made from it."""
    folder = tmp_path_factory.mktemp("first")
    overrides = ("training.epochs=3", "network.hidden=[8]", "promotion.smoke=0", "evaluation.importance=0")
    spec = read_spec(write_example(NAME, folder), overrides=overrides)
    retrain(spec, workspace=str(folder / "ws"))
    return folder, spec


@pytest.fixture
def champion(first: tuple[Path, Spec], tmp_path: Path) -> Spec:
    """The spec of a model with a champion, in the workspace `ws` of the test's own folder."""
    shutil.copytree(first[0], tmp_path, dirs_exist_ok=True)
    return changed(first[1], "data", path=str(tmp_path / Path(first[1].data.path).name))


def changed(spec: Spec, part: str, **values: object) -> Spec:
    return spec.model_copy(update={part: getattr(spec, part).model_copy(update=values)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop(columns="mean radius"), "column 'mean radius' is missing"),
        (lambda rows: rows.assign(**{"mean radius": "wide"}), "mean radius is no number"),
        (lambda rows: rows.assign(diagnosis="benign"), "diagnosis"),
    ],
    ids=["a column is gone", "a type is other", "one class is left"],
)
def test_a_spec_that_no_longer_fits_its_data_fails_and_the_champion_stays(
    champion: Spec, tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    change(pd.read_csv(champion.data.path)).to_csv(champion.data.path, index=False)
    stood = published(tmp_path / "ws")
    with pytest.raises(DataError, match=message):
        retrain(champion, workspace=str(tmp_path / "ws"))
    assert published(tmp_path / "ws") == stood
    assert versions(tmp_path / "ws") == [("1", ("challenger", "champion"))]


def test_a_champion_whose_columns_are_gone_is_not_replaced_unasked(champion: Spec, tmp_path: Path) -> None:
    rows = pd.read_csv(champion.data.path).drop(columns="mean radius")
    rows.to_csv(champion.data.path, index=False)
    left = {name: column for name, column in champion.columns.items() if name != "mean radius"}
    promotion = champion.promotion.model_copy(update={"confidence": None, "margin": 0.5, "promote": "never"})
    result = retrain(
        champion.model_copy(update={"columns": left, "promotion": promotion}), workspace=str(tmp_path / "ws")
    )
    assert "as promotion.promote is never: roc_auc" in result.model.reason
    assert "the champion was scored without columns that it knows (mean radius)" in result.model.reason
    assert versions(tmp_path / "ws") == [("2", ("challenger",)), ("1", ("champion",))]


def test_a_champion_that_was_tampered_with_ends_the_run_until_its_files_are_back(
    champion: Spec, tmp_path: Path
) -> None:
    """Bad input 56."""
    (network,) = tmp_path.glob("ws/train/*/bundle/network.keras")
    whole = network.read_bytes()
    network.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    other = changed(champion, "training", batch_size=16)
    with pytest.raises(EvermodelError, match=r"network\.keras was changed: SHA-256"):
        retrain(other, workspace=str(tmp_path / "ws"))
    assert versions(tmp_path / "ws") == [("1", ("challenger", "champion"))]
    network.write_bytes(whole)
    assert cached(retrain(other, workspace=str(tmp_path / "ws"))) == ["ingest", "encode", "train"]


def test_a_registry_whose_file_is_broken_ends_the_run_until_it_is_back(champion: Spec, tmp_path: Path) -> None:
    database = tmp_path / "ws" / "mlflow" / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(b"no database" * 1000)
    with pytest.raises(ResourceError, match=r"the registry at sqlite:.* refuses: .*file is not a database$"):
        retrain(champion, workspace=str(tmp_path / "ws"))
    database.write_bytes(whole)
    assert retrain(champion, workspace=str(tmp_path / "ws")).nothing_new
