"""R39: one process that retrains models when they are due, or when somebody asks for it at the Prefect server."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings

pytestmark = pytest.mark.slow

Evermodel = Callable[..., subprocess.CompletedProcess[str]]
Serve = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def prefect_server(prefect_ui: str) -> Iterator[str]:
    """A whole server: the one of other tests has no schedules."""
    with temporary_settings({PREFECT_API_URL: f"{prefect_ui}/api"}):
        yield f"{prefect_ui}/api"


@pytest.fixture(scope="module")
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def serve(evermodel: Evermodel, prefect_server: str, tmp_path: Path) -> Iterator[Serve]:
    """Start `evermodel serve`; what still runs in the end is killed."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows.cli", "serve", *arguments]
        environment = {
            **os.environ,
            "PREFECT_API_URL": prefect_server,
            "HOME": str(tmp_path / "home"),
            "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        }
        with (tmp_path / "serve.log").open("ab") as log:
            processes.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(1)


def states(client: SyncPrefectClient, deployment: str) -> list[str | None]:
    """Return the names of the states of a deployment's runs that have ended."""
    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name={"any_": ["retrain"]}),
        deployment_filter=DeploymentFilter(name={"any_": [deployment]}),
        flow_run_filter=FlowRunFilter(state={"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}),
    )
    return [run.state_name for run in runs]


def is_served(client: SyncPrefectClient, deployment: str) -> bool:
    """Say whether no work pool runs a deployment, which leaves its pool by being made anew."""
    with contextlib.suppress(ObjectNotFound):
        return client.read_deployment_by_name(deployment).work_pool_name is None
    return False


def test_served_models_run_when_due_and_when_asked_for_until_the_process_is_ended(
    evermodel: Evermodel, serve: Serve, client: SyncPrefectClient
) -> None:
    for name in ("diabetes", "linnerud"):
        evermodel("example", name)
    soon = datetime.now(UTC) + timedelta(seconds=20)
    once = f"DTSTART:{soon:%Y%m%dT%H%M%SZ}\nRRULE:FREQ=MINUTELY;COUNT=1"
    process = serve("diabetes.yaml", "linnerud.yaml", "--set", "training.epochs=1", "--rrule", once)
    for name in ("diabetes", "linnerud"):
        wait_for(lambda: states(client, name))  # noqa: B023 - it is called at once
        assert states(client, name) == ["Completed"]
    asked = run_deployment("retrain/diabetes", timeout=300, poll_interval=1)
    assert asked.state is not None
    assert asked.state.name == "NothingNew"

    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert all(client.read_deployment_by_name(f"retrain/{name}").paused for name in ("diabetes", "linnerud"))
    serve("diabetes.yaml")
    wait_for(lambda: not client.read_deployment_by_name("retrain/diabetes").paused)


def test_a_model_that_a_work_pool_ran_can_be_served_and_somebody_is_told_when_its_run_fails(
    evermodel: Evermodel, serve: Serve, client: SyncPrefectClient, told: tuple[str, list[str]], tmp_path: Path
) -> None:
    Webhook(url=told[0], allow_private_urls=True).save("failed", overwrite=True)  # type: ignore[call-arg, arg-type]
    evermodel("example", "linnerud")
    evermodel("deploy", "linnerud.yaml", "--work-pool", "nobody-works-here")
    rows = pd.read_csv(tmp_path / "linnerud.csv")
    rows.drop(columns=rows.columns[0]).to_csv(tmp_path / "linnerud.csv", index=False)
    serve("linnerud.yaml", "--notify", "webhook/failed")
    wait_for(lambda: is_served(client, "retrain/linnerud"))
    asked = run_deployment("retrain/linnerud", timeout=300, poll_interval=1)
    assert asked.state is not None
    assert asked.state.is_failed()
    why = f"column {rows.columns[0]!r} is missing"
    assert why in str(asked.state.message)
    wait_for(lambda: told[1])
    assert told[1][0].startswith(f"linnerud: The run {asked.name} failed: ")
    assert why in told[1][0]
