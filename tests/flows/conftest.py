"""Prefect servers for the flows' tests, and a small spec on real data."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from schemas.spec import Spec
from schemas.spec_file import read_spec
from tasks.examples import write_example


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API address of a Prefect server of this test run's own, with a home of its own."""
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="session")
def prefect_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server of this test run's own that serves its UI; its API is below it, at /api."""
    with _serving(tmp_path_factory.mktemp("prefect")) as (address, _):
        yield address


@pytest.fixture
def mortal_server(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The API address of a Prefect server for one test, and what kills it."""
    home = tmp_path / "prefect"
    home.mkdir()
    with _serving(home) as (address, server):
        yield f"{address}/api", lambda: os.killpg(server.pid, signal.SIGKILL)


@contextlib.contextmanager
def _serving(home: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", port]
    environment = {
        **_without_settings(),
        "PREFECT_HOME": str(home),
        "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/api/health", server)
        yield f"http://127.0.0.1:{port}", server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGINT)
        server.wait(60)


def _wait_until_healthy(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(240):
        assert server.poll() is None, "the server ended"
        try:
            if requests.get(address, timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError("the server does not answer")


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    """The breast-cancer example, trained for three epochs; a registered version predicts without a test of that."""
    overrides = ("training.epochs=3", "network.hidden=[8]", "promotion.smoke=0")
    return read_spec(write_example("breast-cancer", tmp_path / "example"), overrides=overrides)


@pytest.fixture
def evermodel(tmp_path: Path, prefect_server: str) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command in a process of its own, in an empty directory, with a home of its own, on the tests' server."""
    home = tmp_path / "home"
    home.mkdir()

    def run(*arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=tmp_path,
            env={**_without_settings(), "HOME": str(home), "PREFECT_API_URL": prefect_server, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return run


def _without_settings() -> dict[str, Any]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "EVERMODEL_", "MLFLOW_"))
    }
