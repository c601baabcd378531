"""BAD_INPUTS 50: one run of a model at a time, whoever starts it and however the one before it ended (R39)."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.runtime import flow_run

from flows import overlap, server_lock
from flows.server_lock import ServerLock
from schemas.run import RunResult
from schemas.runners import EVERY_RUN
from schemas.spec import Spec

RUN = ("run", "breast-cancer.yaml", "--json", "--set", "training.epochs=3")
SKIP = ("--set", "retraining.overlap=skip")

HOLD = """
import sys, time
from pathlib import Path
from flows import overlap
from schemas.spec_file import read_spec

with overlap.turn(read_spec(Path("breast-cancer.yaml")), workspace=".evermodel", work=sys.argv[1]) as not_now:
    print(not_now or "holds", flush=True)
    time.sleep(600)
"""

Evermodel = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(prefect_server: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def start(tmp_path: Path, prefect_server: str) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start Python in the directory where the example lies; what still runs in the end is killed."""
    processes = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PREFECT_API_URL": prefect_server}
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def holder(evermodel: Evermodel, start: Callable[..., subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """A process that holds the turn of the breast-cancer example, until it is killed."""
    evermodel("example", "breast-cancer")
    process = start("-c", HOLD, "the work")
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def newest(client: SyncPrefectClient, count: int) -> list[FlowRun]:
    return client.read_flow_runs(sort=FlowRunSort.START_TIME_DESC, limit=count)


@pytest.mark.slow
def test_of_two_runs_at_once_the_second_waits_and_finds_nothing_new(
    evermodel: Evermodel, start: Callable[..., subprocess.Popen[str]], client: SyncPrefectClient
) -> None:
    evermodel("example", "breast-cancer")
    processes = [start("-m", "flows.cli", *RUN) for _ in range(2)]
    results = [RunResult.model_validate_json(process.communicate(timeout=300)[0]) for process in processes]
    assert sorted(sum(each.cached for each in result.stages.values()) for result in results) == [0, len(EVERY_RUN)]
    assert {result.model.version for result in results} == {"1"}
    said = {run.state.name: run.state.message for run in newest(client, 2) if run.state}
    assert said["NothingNew"] == "nothing new: spec and data are those of an earlier run"
    assert said["Completed"].startswith("version 1 ")


@pytest.mark.slow
def test_a_run_that_is_to_skip_ends_completed_and_says_why(
    holder: subprocess.Popen[str], evermodel: Evermodel, client: SyncPrefectClient, tmp_path: Path
) -> None:
    result = RunResult.model_validate_json(evermodel(*RUN, *SKIP).stdout)
    assert (result.status, result.stages) == ("skipped", {})
    [run] = newest(client, 1)
    assert run.state is not None
    assert (run.state.type.value, run.state.name) == ("COMPLETED", "Skipped")
    assert run.state.message == "skipped: another run of breast-cancer is going on"
    assert not list((tmp_path / ".evermodel").glob("*/*"))


@pytest.mark.slow
def test_of_several_that_wait_for_the_same_work_one_is_enough(
    holder: subprocess.Popen[str], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    waits = start("-c", HOLD, "more")
    while not list((tmp_path / ".evermodel").glob(".*.waiting-*.lock")):
        time.sleep(0.1)
    again = start("-c", HOLD, "more")
    assert again.stdout is not None
    assert again.stdout.readline() == (
        "skipped: a run of breast-cancer that waits for another one's end will do the same\n"
    )
    holder.kill()
    assert waits.stdout is not None
    assert waits.stdout.readline() == "holds\n"


def test_the_turn_of_a_killed_process_is_free_at_once(
    holder: subprocess.Popen[str], tmp_path: Path, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server_lock, "_SECONDS_OF_SILENCE", float("inf"))
    skipping = spec.model_copy(update={"retraining": spec.retraining.model_copy(update={"overlap": "skip"})})
    with overlap.turn(skipping, workspace=".evermodel", work=0) as not_now:
        assert not_now is not None
    holder.kill()
    holder.wait()
    with overlap.turn(skipping, workspace=".evermodel", work=0) as not_now:
        assert not_now is None


def test_another_machine_waits_for_a_sign_of_life(client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_lock, "_SECONDS_BETWEEN_BEATS", 0.2)
    monkeypatch.setattr(server_lock, "_SECONDS_OF_SILENCE", 2.0)
    holder = ServerLock("evermodel-test-life", door="one machine", run_id=None)
    other = ServerLock("evermodel-test-life", door="another machine", run_id=None)
    assert holder.acquire()
    until = time.monotonic() + 4
    while time.monotonic() < until:
        assert not other.acquire()
        time.sleep(0.2)
    assert other.holder_lives
    holder.release()
    assert other.acquire()
    other.release()
    assert client.read_variable_by_name("evermodel-test-life") is None


def test_a_machine_that_died_with_the_lock_loses_it_after_a_silence(
    start: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_lock, "_SECONDS_OF_SILENCE", 3.0)
    hold = (
        "import time; from flows.server_lock import ServerLock; "
        "print(ServerLock('evermodel-test-dead', door='one', run_id=None).acquire(), flush=True); time.sleep(60)"
    )
    holder = start("-c", hold)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    holder.kill()
    other = ServerLock("evermodel-test-dead", door="another machine", run_id=None)
    assert not other.acquire()
    while not other.acquire():
        time.sleep(0.2)
    other.release()


def test_the_lock_of_a_run_that_has_ended_is_free_at_once(prefect_server: str) -> None:
    @flow
    def forgetful() -> str:
        run_id = str(flow_run.id)
        assert ServerLock("evermodel-test-ended", door="one machine", run_id=run_id).acquire()
        return run_id

    forgetful()
    other = ServerLock("evermodel-test-ended", door="another machine", run_id=None)
    assert other.acquire()
    other.release()
