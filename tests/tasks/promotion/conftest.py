"""A stock MLflow server, and light versions of a model in it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tasks.registry import Registry


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server on SQLite, a process of its own."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-W", "ignore", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # or six more processes start
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True)
    try:
        yield _answering(f"http://127.0.0.1:{port}", server)
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _answering(address: str, server: subprocess.Popen[bytes]) -> str:
    for _ in range(600):
        assert server.poll() is None, "the MLflow server ended"
        try:
            if requests.get(f"{address}/health", timeout=30).ok:
                return address
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.2)
    raise AssertionError("the MLflow server does not answer")


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Registry:
    """A registry of the workspace's own with the model `it` in four versions, of which none is champion."""
    shutil.copytree(template, tmp_path / "ws")
    return Registry(workspace=str(tmp_path / "ws"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with that registry, to be copied: to make its tables takes seconds."""
    folder = tmp_path_factory.mktemp("template") / "ws"
    found = Registry(workspace=str(folder))
    found.client.create_registered_model("it")
    for _ in range(4):
        found.client.create_model_version("it", "s3://nowhere/model")
    return folder
