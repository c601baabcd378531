"""R38: a stage in a container of its own, on a real engine: what it can do, and what becomes of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.requests import ingest_request
from flows.runners import docker as runner
from schemas.errors import DataError, ResourceError
from schemas.runners import EVERY_RUN, Docker
from schemas.spec import Spec
from schemas.stages import EncodeRequest, IngestRequest, IngestResult, TrainRequest
from tasks import encode, ingest
from tasks import stage as stages
from tasks.scratch import scratch
from tasks.workspaces import place

pytestmark = [pytest.mark.docker, pytest.mark.slow]

LONG = ("--set", "training.epochs=100000", "--set", "training.early_stopping=null")


@pytest.fixture
def request_to_ingest(spec: Spec, tmp_path: Path) -> IngestRequest:
    return ingest_request(spec, workspace=str(tmp_path / "ws"))


@pytest.fixture
def long_training(request_to_ingest: IngestRequest) -> TrainRequest:
    """A request for a training that takes longer than any test."""
    workspace = request_to_ingest.workspace
    ingested = ingest.run(request_to_ingest)
    encoded = encode.run(EncodeRequest(workspace=workspace, ingest=ingested.as_input))
    training = {"epochs": 100_000, "early_stopping": None}
    known = {"workspace": workspace, "ingest": ingested.as_input, "encode": encoded.as_input}
    return TrainRequest.model_validate({**known, "training": training})


@pytest.fixture(autouse=True)
def no_container_stays(engine: Any, tmp_path: Path) -> Any:
    yield
    assert of_workspace(engine, tmp_path / "ws") == []
    assert not list((tmp_path / "ws").glob("requests/*/.scratch-*"))


def of_workspace(engine: Any, workspace: Path) -> list[Any]:
    return list(engine.containers.list(all=True, filters={"label": f"{runner.WORKSPACE}={workspace}"}))


def seen(engine: Any, workspace: Path) -> Any:
    """The container that runs in a workspace, as soon as there is one."""
    for _ in range(6000):
        if found := [each for each in of_workspace(engine, workspace) if each.status == "running"]:
            return found[0]
        time.sleep(0.05)
    raise AssertionError("no container was seen")


def meanwhile(action: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=action)
    thread.start()
    return thread


def test_all_runners_publish_the_same_bytes_under_the_same_keys(
    evermodel: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    evermodel("example", "breast-cancer")
    results, changed = {}, ("--set", "training.epochs=3")
    for kind in ("inline", "docker"):
        done = evermodel("run", "breast-cancer.yaml", *changed, "--runner", kind, "--workspace", kind, "--json")
        results[kind] = json.loads(done.stdout)
    assert "epoch 1/3" in done.stderr
    assert {name: results["docker"][name] for name in ("run_key", "rows", "metrics", "model")} == {
        name: results["inline"][name] for name in ("run_key", "rows", "metrics", "model")
    }
    for stage in EVERY_RUN:
        inline, docker = (Path(results[kind]["stages"][stage]["path"]) for kind in ("inline", "docker"))
        assert inline.name == docker.name
        assert files(inline) == files(docker)


def files(folder: Path) -> dict[str, bytes]:
    outside = {"result.json", "request.json"}
    found = [path for path in folder.rglob("*") if path.is_file() and path.name not in outside]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_container_has_no_network_no_rights_and_writes_nothing_but_its_stage(
    engine: Any, request_to_ingest: IngestRequest, tmp_path: Path
) -> None:
    workspace = tmp_path / "ws"
    limits = Docker(memory="512m", cpus=0.5, pids=64)
    with scratch(workspace / "requests" / "ingest") as folder:
        options = runner.options("ingest", request_to_ingest, limits, folder, "test")
        options |= {"entrypoint": ["python", "-c"], "command": [_PROBE.format(workspace=workspace)], "labels": {}}
        container = engine.containers.create("evermodel-ingest:0.1.0", **options)
        try:
            container.start()
            container.wait()
            said = json.loads(container.logs(stdout=True, stderr=False))
            host = engine.api.inspect_container(container.id)["HostConfig"]
        finally:
            container.remove(force=True)
    assert said == {
        "uid": os.getuid(),
        "rights": "0000000000000000",
        "no new rights": "1",
        "network": "OSError",
        "/opt/evermodel/x": "OSError",
        f"{workspace}/x": "OSError",
        f"{workspace}/train/x": "OSError",
        f"{workspace}/ingest/x": "written",
        "/tmp/x": "written",
    }
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (2**29, 2**29, 5 * 10**8, 64)
    assert (host["NetworkMode"], host["ReadonlyRootfs"], host["CapDrop"], host["Init"]) == ("none", True, ["ALL"], True)
    assert host["SecurityOpt"] == ["no-new-privileges"]


_PROBE = """
import json, os, pathlib, socket
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
said = {{"uid": os.getuid(), "rights": status["CapEff"], "no new rights": status["NoNewPrivs"]}}
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError:
    said["network"] = "OSError"
for path in ("/opt/evermodel/x", "{workspace}/x", "{workspace}/train/x", "{workspace}/ingest/x", "/tmp/x"):
    try:
        pathlib.Path(path).write_text("x")
        said[path] = "written"
    except OSError:
        said[path] = "OSError"
print(json.dumps(said))
"""


def test_the_error_of_a_stage_is_raised_as_its_own(request_to_ingest: IngestRequest, engine: Any) -> None:
    Path(request_to_ingest.source.path).write_text("")
    with pytest.raises(DataError, match=r"breast-cancer\.csv is empty"):
        runner.run("ingest", request_to_ingest, Docker(), model="test")


def test_memory_above_the_limit_is_told_from_a_kill(request_to_ingest: IngestRequest, engine: Any) -> None:
    with pytest.raises(ResourceError, match="ingest: out of memory: its container may use 24m"):
        runner.run("ingest", request_to_ingest, Docker(memory="24m"), model="test")


def test_a_killed_container_is_told(long_training: TrainRequest, engine: Any, tmp_path: Path) -> None:
    thread = meanwhile(lambda: seen(engine, tmp_path / "ws").kill())
    with pytest.raises(ResourceError, match="train: its container was killed from outside"):
        runner.run("train", long_training, Docker(), model="test")
    thread.join()


def test_a_stage_that_takes_too_long_is_stopped(long_training: TrainRequest, engine: Any) -> None:
    with pytest.raises(ResourceError, match="train: stopped after 2 s; give its runner a longer timeout_s"):
        runner.run("train", long_training, Docker(timeout_s=2), model="test")


def test_a_gpu_that_is_not_there_is_told_before_training(long_training: TrainRequest, engine: Any) -> None:
    image = engine.images.get("evermodel-train:0.1.0").id  # the image for GPUs is as large as all others together
    with pytest.raises(ResourceError, match="the Docker engine has no GPU to give"):
        runner.run("train", long_training, Docker(gpu="all", image=image), model="test")


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ("all", {"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}),
        (2, {"Driver": "", "Count": 2, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}),
        (("0", "3"), {"Driver": "", "Count": 0, "DeviceIDs": ["0", "3"], "Capabilities": [["gpu"]], "Options": {}}),
    ],
)
def test_the_engine_is_asked_for_the_gpus_of_the_spec(
    engine: Any, request_to_ingest: IngestRequest, tmp_path: Path, gpu: Any, expected: dict[str, Any]
) -> None:
    with scratch(tmp_path / "ws" / "requests" / "ingest") as folder:
        options = runner.options("ingest", request_to_ingest, Docker(gpu=gpu), folder, "test")
        container = engine.containers.create("evermodel-ingest:0.1.0", **options)
        try:
            asked = engine.api.inspect_container(container.id)["HostConfig"]["DeviceRequests"]
        finally:
            container.remove()
    assert [{**each, "DeviceIDs": each["DeviceIDs"] or [], "Options": each["Options"] or {}} for each in asked] == [
        expected
    ]


def test_an_image_of_other_code_is_refused(engine: Any, request_to_ingest: IngestRequest) -> None:
    with pytest.raises(ResourceError, match=r"holds other code than this flow; `evermodel images build` makes it anew"):
        runner.run("ingest", request_to_ingest, Docker(image="evermodel-base:bookworm"), model="test")
    with pytest.raises(ResourceError, match="there is no image evermodel-absent; `evermodel images build` makes it"):
        runner.run("ingest", request_to_ingest, Docker(image="evermodel-absent"), model="test")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_flow_leaves_no_container_and_a_killed_one_none_for_long(
    evermodel: Callable[..., subprocess.CompletedProcess[str]],
    prefect_server: str,
    engine: Any,
    tmp_path: Path,
    end: signal.Signals,
) -> None:
    evermodel("example", "breast-cancer")
    run = [sys.executable, "-m", "flows.cli", "run", "breast-cancer.yaml", "--workspace", "ws", "--runner", "docker"]
    with subprocess.Popen(
        [*run, *LONG],
        cwd=tmp_path,
        env={**os.environ, "PREFECT_API_URL": prefect_server},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "train: epoch" in line:
                break
        process.send_signal(end)
        started = time.monotonic()
        process.wait()
        said = process.stderr.read()
    assert time.monotonic() - started < 10
    if end == signal.SIGTERM:
        assert process.returncode == 143, said
        assert of_workspace(engine, tmp_path / "ws") == []
    else:
        assert len(of_workspace(engine, tmp_path / "ws")) == 1
        evermodel("run", "breast-cancer.yaml", "--workspace", "ws", "--runner", "docker", "--set", "training.epochs=1")


def test_a_run_that_is_cancelled_on_the_server_ends_with_its_container(
    evermodel: Callable[..., subprocess.CompletedProcess[str]], prefect_server: str, engine: Any, tmp_path: Path
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    evermodel("example", "breast-cancer")
    with get_client(sync_client=True) as client:

        def cancel() -> None:
            while "-train-" not in seen(engine, tmp_path / "ws").name:
                time.sleep(0.1)
            newest = max(client.read_flow_runs(), key=lambda run: run.created)
            client.set_flow_run_state(newest.id, Cancelling())

        thread = meanwhile(cancel)
        done = evermodel("run", "breast-cancer.yaml", "--workspace", "ws", "--runner", "docker", *LONG, check=False)
        thread.join()
        newest = max(client.read_flow_runs(), key=lambda run: run.created)
    assert done.returncode == 143
    assert "train: the run was cancelled; run it again to go on where it was" in done.stderr
    assert newest.state_name == "Cancelled"


def test_a_stage_image_runs_alone(engine: Any, request_to_ingest: IngestRequest, tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(request_to_ingest.model_copy(update={"workspace": "ws"}).to_json())
    command = ["docker", "run", "--rm", "-v", f"{tmp_path}:{tmp_path}", "-w", str(tmp_path), "-u", f"{os.getuid()}"]
    done = subprocess.run(
        [*command, "evermodel-ingest:0.1.0", "request.json"], capture_output=True, text=True, check=True
    )
    result = IngestResult.model_validate_json(done.stdout)
    assert result.rows.read == 569
    assert stages.published(IngestResult, place(result.path)) == result
