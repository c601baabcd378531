"""The stack of compose.yaml: a run that its API triggers, in the open only where it should be (R38, R39)."""

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.runners import EVERY_RUN
from tasks.bundle import Bundle
from tasks.examples import write_example
from tasks.registry import Registry
from tasks.stores import open_url

pytestmark = [pytest.mark.docker, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
WORKSPACE = "s3://evermodel/workspace"


@dataclass(frozen=True)
class Stack:
    """A stack that is up."""

    project: str
    secrets: dict[str, str]
    ports: dict[str, int]

    def prefect(self, method: str, path: str, body: Any = None, *, password: str | None = None) -> requests.Response:
        user, _, right = self.secrets["prefect_auth"].partition(":")
        url = f"http://127.0.0.1:{self.ports['prefect']}/api{path}"
        return requests.request(
            method, url, json=body, auth=(user, right if password is None else password), timeout=30
        )

    def inspected(self) -> list[dict[str, Any]]:
        """What the engine says of each container."""
        return json.loads(output("docker", "inspect", *containers(self.project)))


def output(*command: str, **environment: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def containers(project: str) -> list[str]:
    return output("docker", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={project}").split()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack under a name, with passwords and ports of its own, and gone in the end with all that it held."""
    base = output(".ci/engine", "compose").strip()
    project, secrets = f"evermodel-test-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("stack") / "secrets"
    ports = {name: free_port() for name in ("prefect", "mlflow", "store")}
    environment = {
        "COMPOSE_PROJECT_NAME": project,
        "DOCKER_BUILDKIT": "0",
        "EVERMODEL_PYTHON_IMAGE": base,
        "EVERMODEL_SECRETS": str(secrets),
        "EVERMODEL_STACK": "local",
        **{f"EVERMODEL_{name.upper()}_PORT": str(port) for name, port in ports.items()},
    }
    build = [sys.executable, "-m", "flows.cli", "images", "build", "--only", "mlflow-server", "--only", "pool"]
    output(*build, "--network=host", **environment)
    try:
        output("docker/stack", "up", **environment)
        found = {path.name: path.read_text() for path in secrets.iterdir()}
        yield Stack(project, found, ports)
    finally:
        output("docker/stack", "down", "--volumes", "--timeout", "2", **environment)
    assert containers(project) == []
    assert output("docker", "volume", "ls", "--quiet", "--filter", f"name={project}") == ""
    assert output("docker", "network", "ls", "--quiet", "--filter", f"name={project}") == ""


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[Any]:
    """The object store, as the host reaches it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{stack.ports['store']}")
        patch.setenv("AWS_ACCESS_KEY_ID", stack.secrets["store_access_key"])
        patch.setenv("AWS_SECRET_ACCESS_KEY", stack.secrets["store_secret_key"])
        patch.setenv("AWS_REGION", "us-east-1")
        yield open_url("s3://evermodel")[0]


def wait_for_pool(stack: Stack) -> None:
    """Wait for the worker to make its pool."""
    for _ in range(300):
        if stack.prefect("GET", "/work_pools/evermodel").ok:
            return
        time.sleep(1)
    raise AssertionError("the worker made no pool")


def deployed(stack: Stack, spec: Path, *overrides: str) -> str:
    """Deploy a spec to the worker's pool; return the deployment's id."""
    settings = [part for setting in overrides for part in ("--set", setting)]
    command = [sys.executable, "-m", "flows.cli", "deploy", str(spec), "--work-pool", "evermodel", *settings]
    environment = {
        "EVERMODEL_WORKSPACE": WORKSPACE,
        "PREFECT_API_URL": f"http://127.0.0.1:{stack.ports['prefect']}/api",
        "PREFECT_API_AUTH_STRING": stack.secrets["prefect_auth"],
    }
    wait_for_pool(stack)
    output(*command, **environment)
    return str(stack.prefect("GET", "/deployments/name/retrain/breast-cancer").json()["id"])


def finished(stack: Stack, deployment: str) -> dict[str, Any]:
    """Trigger a run over the API; return it when it has ended."""
    run = stack.prefect("POST", f"/deployments/{deployment}/create_flow_run", {}).json()
    for _ in range(500):
        now: dict[str, Any] = stack.prefect("GET", f"/flow_runs/{run['id']}").json()
        if now["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return now
        time.sleep(1)
    raise AssertionError(f"the run has not ended: {now['state']}")


def test_a_run_over_the_api_ends_in_the_object_store_and_the_registry(
    stack: Stack, store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = write_example("breast-cancer", tmp_path)
    store.put_file(str(tmp_path / "breast-cancer.csv"), "evermodel/data/breast-cancer.csv")
    elsewhere = "data.path=s3://evermodel/data/breast-cancer.csv"
    run = finished(stack, deployed(stack, spec, elsewhere, "training.epochs=3", "network.hidden=[8]"))
    assert run["state_type"] == "COMPLETED", run["state"]

    results = [name for name in store.find("evermodel/workspace") if name.endswith("/result.json")]
    assert sorted(name.split("/")[2] for name in results) == sorted(EVERY_RUN)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)  # the MLflow server hands files out: who asks it needs no keys of the store
    registry = Registry(workspace=str(tmp_path), tracking_uri=f"http://127.0.0.1:{stack.ports['mlflow']}")
    champion = registry.find("breast-cancer", "champion")
    assert champion.version == "1"
    assert Bundle(registry.bundle(champion)).contract.problem == "binary"
    assert "Confusion" in registry.report(champion).read_text()


def test_prefects_api_refuses_who_has_no_password(stack: Stack) -> None:
    assert stack.prefect("POST", "/flow_runs/filter", {}).status_code == 200
    assert stack.prefect("POST", "/flow_runs/filter", {}, password="wrong").status_code == 401
    anonymous = requests.post(f"http://127.0.0.1:{stack.ports['prefect']}/api/flow_runs/filter", json={}, timeout=30)
    assert anonymous.status_code == 401


def test_ports_are_bound_to_loopback_alone(stack: Stack) -> None:
    bound = {
        (port["HostIp"], int(port["HostPort"]))
        for each in stack.inspected()
        for ports in (each["NetworkSettings"]["Ports"] or {}).values()
        for port in ports or ()
    }
    assert bound == {("127.0.0.1", port) for port in stack.ports.values()}


def test_containers_are_limited_and_show_no_secret(stack: Stack) -> None:
    inspected = stack.inspected()
    assert len(inspected) == 6
    for each in inspected:
        assert each["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
        assert each["HostConfig"]["Memory"] > 0
        assert each["HostConfig"]["PidsLimit"] > 0
    said = json.dumps(inspected) + "".join(output("sh", "-c", f"docker logs {each['Id']} 2>&1") for each in inspected)
    for name, secret in stack.secrets.items():
        assert secret.removeprefix("admin:") not in said, name
