"""R38, R39: stages on work pools of several types, started by deployments on a real server with real workers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments import run_deployment

from schemas.errors import ResourceError, SpecError
from schemas.run import RunResult
from tasks.registry import Registry

pytestmark = [pytest.mark.docker, pytest.mark.slow]

POOLS = {"home": "process", "cpu": "docker"}


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def workers(engine: Any, prefect_server: str, client: SyncPrefectClient, tmp_path_factory: Any) -> Iterator[None]:
    """A worker for a pool of processes and one for a pool of containers."""
    started = []
    for name, kind in POOLS.items():
        client.create_work_pool(WorkPoolCreate(name=name, type=kind))
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", name, "--type", kind]
        home = tmp_path_factory.mktemp(name)
        environment = {
            **os.environ,
            "PREFECT_API_URL": prefect_server,
            "HOME": str(home),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        with (home / "worker.log").open("w") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
    yield
    for process in started:
        process.send_signal(signal.SIGINT)
    for process in started:
        process.wait(300)


@pytest.fixture
def deployed(
    evermodel: Callable[..., subprocess.CompletedProcess[str]], workers: None, tmp_path: Path
) -> Callable[..., str]:
    """Write the breast-cancer example with stages on the pools, deploy it, return what the command printed."""

    def deploy(*overrides: str) -> str:
        evermodel("example", "breast-cancer")
        path = tmp_path / "breast-cancer.yaml"
        in_containers = {"kind": "work_pool", "pool": "cpu", "job_variables": {"network_mode": "host"}}
        stages = {"ingest": in_containers, "train": in_containers, "encode": {"kind": "work_pool", "pool": "home"}}
        tree = yaml.safe_load(path.read_text()) | {"runner": {"stages": stages}}
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        settings = ("training.epochs=3", *overrides)
        options = [part for setting in settings for part in ("--set", setting)]
        return evermodel("deploy", "breast-cancer.yaml", "--work-pool", "home", "--workspace", "ws", *options).stdout

    return deploy


def test_a_deployment_runs_its_stages_on_their_pools_and_publishes_what_a_plain_run_does(
    deployed: Callable[..., str],
    evermodel: Callable[..., subprocess.CompletedProcess[str]],
    client: SyncPrefectClient,
    engine: Any,
    tmp_path: Path,
) -> None:
    said = deployed()
    assert [line.split() for line in said.splitlines()[:4]] == [
        ["stage/breast-cancer-ingest", "on", "work", "pool", "cpu"],
        ["stage/breast-cancer-encode", "on", "work", "pool", "home"],
        ["stage/breast-cancer-train", "on", "work", "pool", "cpu"],
        ["retrain/breast-cancer", "on", "work", "pool", "home"],
    ]
    run = run_deployment("retrain/breast-cancer", timeout=300, poll_interval=1)
    assert run.state.is_completed(), run.state.message
    runs = {each.name: each.state_name for each in client.read_flow_runs()}
    assert {f"breast-cancer {stage}" for stage in ("ingest", "encode", "train")} <= runs.keys()

    plain = evermodel(
        "run",
        "breast-cancer.yaml",
        "--set",
        "training.epochs=3",
        "--runner",
        "inline",
        "--workspace",
        "plain",
        "--json",
    )
    result = RunResult.model_validate_json(plain.stdout)
    for name in ("ingest", "encode", "train", "evaluate"):
        plain_result, pool_result = (
            json.loads((tmp_path / workspace / name / Path(result.stages[name].path).name / "result.json").read_text())
            for workspace in ("plain", "ws")
        )
        assert plain_result["files"] == pool_result["files"]
    assert Registry(workspace=str(tmp_path / "ws")).find("breast-cancer", "champion").version == "1"
    assert not [
        each
        for each in engine.containers.list(all=True)
        if each.labels.get("io.prefect.flow-run-id") in {str(run.id) for run in client.read_flow_runs()}
    ]


def test_the_error_of_a_stage_on_a_pool_is_raised_in_the_flow(
    deployed: Callable[..., str], evermodel: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    deployed("data.minimum_rows=5000")
    done = evermodel("run", "breast-cancer.yaml", "--workspace", "ws", "--set", "data.minimum_rows=5000", check=False)
    assert done.returncode == 3
    assert "569 rows are too few; data.minimum_rows is 5000" in done.stderr


def test_a_stopped_flow_cancels_its_stage_on_the_pool(
    deployed: Callable[..., str], prefect_server: str, client: SyncPrefectClient, engine: Any, tmp_path: Path
) -> None:
    deployed()
    command = [sys.executable, "-m", "flows.cli", "run", "breast-cancer.yaml", "--workspace", "ws"]
    command += ["--set", "training.epochs=100000", "--set", "training.early_stopping=null"]
    with subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PREFECT_API_URL": prefect_server}) as process:
        child = _running(client, "breast-cancer train")
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert process.returncode == 143
    for _ in range(300):
        if (state := client.read_flow_run(child).state) and state.is_cancelled():
            break
        time.sleep(1)
    assert state is not None
    assert state.is_cancelled()


def _running(client: SyncPrefectClient, name: str) -> Any:
    for _ in range(400):
        for run in client.read_flow_runs():
            if run.name == name and run.state is not None and run.state.is_running():
                return run.id
        time.sleep(1)
    raise AssertionError(f"{name} was not seen running")


def test_without_a_deployment_the_flow_says_what_to_do(
    evermodel: Callable[..., subprocess.CompletedProcess[str]], prefect_server: str
) -> None:
    evermodel("example", "diabetes")
    done = evermodel("run", "diabetes.yaml", "--set", "runner={kind: work_pool, pool: cpu}", check=False)
    assert done.returncode == 4
    assert "there is no deployment stage/diabetes-ingest; `evermodel deploy SPEC` makes it" in done.stderr


def test_a_pool_that_is_not_there_is_told(evermodel: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    evermodel("example", "diabetes")
    done = evermodel("deploy", "diabetes.yaml", "--set", "runner={kind: work_pool, pool: nowhere}", check=False)
    assert done.returncode == ResourceError.exit_code
    assert "there is no work pool 'nowhere'; make it, such as: prefect work-pool create nowhere" in done.stderr


def test_a_schedule_is_made_and_a_wrong_one_refused(
    evermodel: Callable[..., subprocess.CompletedProcess[str]], client: SyncPrefectClient
) -> None:
    evermodel("example", "diabetes")
    evermodel("deploy", "diabetes.yaml", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin")
    made = client.read_deployment_by_name("retrain/diabetes")
    assert [(each.schedule.cron, each.schedule.timezone) for each in made.schedules] == [("0 3 * * *", "Europe/Berlin")]
    done = evermodel("deploy", "diabetes.yaml", "--cron", "at noon", check=False)
    assert done.returncode == SpecError.exit_code
    assert "no schedule" in done.stderr
