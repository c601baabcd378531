"""R40: a person has the last word, on a real Prefect server: yes, no, too late, and from the command line."""

import contextvars
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.deployments import run_deployment
from prefect.flow_runs import resume_flow_run

import flows.approval
from flows import deploy as deployments
from flows import overlap, retrain
from schemas.data import Source
from schemas.run import RunResult
from schemas.spec import Spec
from schemas.spec_file import read_spec
from tasks import decisions, observations
from tasks.examples import write_example
from tasks.registry import Registry

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

NAME = "breast-cancer"
OVERRIDES = ("training.epochs=3", "network.hidden=[8]", "promotion.smoke=0")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Spec]:
    """A workspace in which all is done but that nothing may be promoted, and its spec: to be copied."""
    folder = tmp_path_factory.mktemp("evaluated")
    spec = read_spec(write_example(NAME, folder), overrides=(*OVERRIDES, "promotion.promote=never"))
    result = retrain(spec, workspace=str(folder / "ws"))
    assert (result.model.promoted, result.model.reason) == (
        False,
        "not promoted, as promotion.promote is never: there is no champion yet",
    )
    return folder / "ws", spec


@pytest.fixture
def asking(evaluated: tuple[Path, Spec], tmp_path: Path) -> Callable[..., RunResult]:
    """Retrain anew, such that a version passes the gate and waits for a person."""
    shutil.copytree(evaluated[0], tmp_path / "ws")

    def run(timeout_s: float = 600) -> RunResult:
        update = {"promote": "approve", "timeout_hours": timeout_s / 3600}
        promotion = evaluated[1].promotion.model_copy(update=update)
        spec = evaluated[1].model_copy(update={"promotion": promotion})
        return retrain(spec, workspace=str(tmp_path / "ws"))

    return run


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows.approval, "_POLL_S", 0.5)


def answer(**said: str) -> threading.Thread:
    """Resume the run that waits, with what a person fills in, as the UI does; the thread ends then."""

    def look() -> None:
        with get_client(sync_client=True) as client:
            resume_flow_run(paused(client).id, run_input=said)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(look,), daemon=True)
    thread.start()
    return thread


def paused(client: SyncPrefectClient, state: str = "Paused") -> Any:
    for _ in range(1500):
        waiting = [run for run in client.read_flow_runs() if run.state_name == state]
        if waiting:
            keyset = waiting[0].state.state_details.run_input_keyset
            schema = client.read_flow_run_input(waiting[0].id, keyset["schema"])
            assert all(f'"{field}"' in schema for field in ("decision", "who", "why"))
            return waiting[0]
        time.sleep(0.2)
    raise AssertionError(f"no run is {state}")


def last_decision(folder: Path) -> decisions.Decision:
    version = Registry(workspace=str(folder / "ws")).find(NAME, "challenger")
    return decisions.of(version)[-1]


def aliases(folder: Path) -> tuple[str, ...]:
    return Registry(workspace=str(folder / "ws")).find(NAME, "challenger").aliases


def test_a_version_becomes_champion_when_a_person_approves(asking: Callable[..., RunResult], tmp_path: Path) -> None:
    thread = answer(decision="approve", who="Ada", why="looks right")
    result = asking()
    thread.join(300)
    assert result.model.promoted
    assert result.model.reason.startswith("approved by Ada at ")
    assert result.model.reason.endswith(": looks right")
    assert aliases(tmp_path) == ("challenger", "champion")
    assert (last_decision(tmp_path).what, last_decision(tmp_path).who) == ("approved", "Ada")
    assert asking().model == result.model  # nothing new, and nobody is asked again


def test_a_version_that_a_person_declines_is_not_promoted(asking: Callable[..., RunResult], tmp_path: Path) -> None:
    thread = answer(decision="decline", who="Ada", why="not before the holidays")
    result = asking()
    thread.join(300)
    assert not result.model.promoted
    assert result.model.reason.endswith(": not before the holidays")
    assert aliases(tmp_path) == ("challenger",)
    assert last_decision(tmp_path).what == "declined"

    Registry(workspace=str(tmp_path / "ws")).promote(NAME, "1", reason="they are over", by="Grace")
    last = last_decision(tmp_path)
    assert (last.what, last.who, last.why) == ("forced", "Grace", "they are over")
    assert str(last.overruled).startswith("waits for approval: ")
    assert asking().nothing_new
    assert (aliases(tmp_path), last_decision(tmp_path)) == (("challenger", "champion"), last)


def test_when_nobody_answers_in_time_the_run_ends_well_and_nothing_is_promoted(
    asking: Callable[..., RunResult], tmp_path: Path
) -> None:
    result = asking(timeout_s=3)
    assert result.status == "completed"
    assert "nobody approved it until" in result.model.reason
    assert aliases(tmp_path) == ("challenger",)
    assert last_decision(tmp_path).what == "expired"
    with get_client(sync_client=True) as client:
        newest = max(client.read_flow_runs(), key=lambda run: run.created)
    assert newest.state_name == "Completed"


def test_the_command_line_is_an_answer_too(
    asking: Callable[..., RunResult], evaluated: tuple[Path, Spec], tmp_path: Path
) -> None:
    """A person promotes while the run waits, which keeps its turn meanwhile."""
    registry, skipped = Registry(workspace=str(tmp_path / "ws")), []
    retraining = evaluated[1].retraining.model_copy(update={"overlap": "skip"})
    skipping = evaluated[1].model_copy(update={"retraining": retraining})

    def promote() -> None:
        with get_client(sync_client=True) as client:
            paused(client)
        with overlap.turn(skipping, workspace=str(tmp_path / "ws"), work="another") as not_now:
            skipped.append(not_now)
        registry.promote(NAME, "1", reason="by hand", by="Ada")

    thread = threading.Thread(target=contextvars.copy_context().run, args=(promote,), daemon=True)
    thread.start()
    result = asking(timeout_s=20)
    assert result.model.promoted
    assert result.model.reason.endswith(": by hand")
    assert skipped == [f"skipped: another run of {NAME} is going on"]
    assert last_decision(tmp_path).what == "forced"


def test_an_answer_is_for_the_version_that_was_asked_about(evaluated: tuple[Path, Spec], tmp_path: Path) -> None:
    """What a resumed run makes of newer data waits for an answer of its own."""
    shutil.copytree(evaluated[0], tmp_path / "ws")
    registry = Registry(workspace=str(tmp_path / "ws"))
    waits = decisions.Decision(what="waits", who=decisions.EVERMODEL, when=decisions.now().isoformat(), why="better")
    decisions.record(registry, registry.find(NAME, "1"), waits)
    said = flows.approval.Approval(decision="approve", who="Ada", why="seen it")
    assert not flows.approval.take({"2": said}, NAME, registry)
    assert last_decision(tmp_path).what == "waits"
    assert flows.approval.take({"1": said}, NAME, registry)
    assert (last_decision(tmp_path).what, aliases(tmp_path)) == ("approved", ("challenger", "champion"))
    assert not flows.approval.take({"1": said}, NAME, registry)


def test_a_deployments_run_is_suspended_and_goes_on_in_a_new_process_when_it_is_resumed(
    evaluated: tuple[Path, Spec], prefect_server: str, tmp_path: Path
) -> None:
    """What it had made stands, others do not ask again, and its worker monitors the champion, too."""
    shutil.copytree(evaluated[0], tmp_path / "ws")
    promotion = evaluated[1].promotion.model_copy(update={"promote": "approve"})
    spec = evaluated[1].model_copy(update={"promotion": promotion})
    list(deployments.deploy(spec, workspace=str(tmp_path / "ws"), pool="approvals"))
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "approvals", "--type", "process"]
    settings = {"PREFECT_API_URL": prefect_server, "HOME": str(tmp_path), "PREFECT_WORKER_QUERY_SECONDS": "1"}
    with (tmp_path / "worker.log").open("w") as log, get_client(sync_client=True) as client:
        worker = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True
        )
        try:
            made = run_deployment(f"retrain/{NAME}", timeout=0)
            waiting = paused(client, "Suspended")
            assert waiting.id == made.id
            published = {path: path.stat().st_mtime for path in (tmp_path / "ws").glob("*/*/result.json")}
            again = retrain(spec, workspace=str(tmp_path / "ws"))
            assert (again.nothing_new, again.model.promoted) == (True, False)
            assert again.model.reason.startswith("waits for approval: ")
            resume_flow_run(waiting.id, run_input={"decision": "approve", "who": "Ada", "why": "at last"})
            for _ in range(1500):
                if (run := client.read_flow_run(made.id)).state.is_final():
                    break
                time.sleep(0.2)
            rows = Source(path=spec.data.path)
            deployments.deploy_monitor(spec, rows, workspace=str(tmp_path / "ws"), pool="approvals", schedules=[])
            looked = run_deployment(f"monitor/{NAME}", timeout=300, poll_interval=1)
        finally:
            os.killpg(worker.pid, signal.SIGINT)
            worker.wait(300)
    assert run.state.is_completed(), run.state.message
    assert {path: path.stat().st_mtime for path in published} == published
    assert "champion" in aliases(tmp_path)
    assert (last_decision(tmp_path).what, last_decision(tmp_path).why) == ("approved", "at last")
    assert looked.state.is_completed(), looked.state.message
    seen = observations.of(Registry(workspace=str(tmp_path / "ws")).find(NAME, "champion"))
    assert seen is not None
    assert seen.rows == 569


def test_without_a_server_the_run_ends_and_says_how_to_answer(
    evaluated: tuple[Path, Spec], evermodel: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    shutil.copytree(evaluated[0], tmp_path / "ws")
    spec = str(write_example(NAME, tmp_path))
    changes = [word for each in (*OVERRIDES, "promotion.promote=approve") for word in ("--set", each)]
    done = evermodel("run", spec, *changes, "--workspace", "ws", PREFECT_API_URL="")
    assert f"register: {NAME} version 1 waits for approval: evermodel promote {NAME} 1 --reason" in done.stderr
    assert aliases(tmp_path) == ("challenger",)
    Registry(workspace=str(tmp_path / "ws")).promote(NAME, "1", reason="it is fine", by="Ada")
    assert str(last_decision(tmp_path).overruled).startswith("waits for approval: ")
