"""Prefect servers for the flows' tests, and a small spec on real data."""

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

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


class Server:
    """A server in a process group of its own, which can be ended and started again on what it keeps in its home."""

    def __init__(self, home: Path, *arguments: str, health: str, **environment: str) -> None:
        """Name its command, where {port} stands for a free one, and the path at which it says that it is well."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self._command = [sys.executable, "-W", "ignore", "-m", *(each.format(port=port) for each in arguments)]
        self._home, self._health = home, f"{self.address}{health}"
        self._environment = {name: text.format(address=self.address) for name, text in environment.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end(signal.SIGINT)

    def start(self) -> None:
        """Start it, and wait until it is well."""
        with (self._home / "server.log").open("a") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._home,
                env={**_without_settings(), **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for _ in range(240):
            assert self._process.poll() is None, "the server ended"
            with contextlib.suppress(requests.ConnectionError, requests.Timeout):
                if requests.get(self._health, timeout=5).ok:
                    return
            time.sleep(0.5)
        raise AssertionError("the server does not answer")

    def send(self, sign: signal.Signals) -> None:
        """Send a signal to it and to its workers."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, sign)

    def end(self, sign: signal.Signals) -> None:
        """Send a signal that ends it, and wait for its end."""
        self.send(sign)
        assert self._process is not None
        self._process.wait(300)


def _prefect(home: Path) -> Server:
    return Server(
        home,
        *("prefect", "server", "start", "--port", "{port}"),
        health="/api/health",
        PREFECT_HOME=str(home),
        PREFECT_UI_API_URL="{address}/api",
        PREFECT_UI_STATIC_DIRECTORY=str(home / "ui"),
        PREFECT_SERVER_ANALYTICS_ENABLED="false",
        DO_NOT_TRACK="1",
    )


@pytest.fixture(scope="session")
def prefect_ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prefect server of this test run's own that serves its UI; its API is below it, at /api."""
    with _prefect(tmp_path_factory.mktemp("prefect")) as server:
        yield server.address


@pytest.fixture
def mortal_prefect(tmp_path: Path) -> Iterator[Server]:
    """A Prefect server for one test, which may end it and start it again."""
    home = tmp_path / "prefect"
    home.mkdir()
    with _prefect(home) as server:
        yield server
        server.end(signal.SIGKILL)


@pytest.fixture
def mortal_mlflow(tmp_path: Path) -> Iterator[Server]:
    """An MLflow server on SQLite for one test, which may hold it up."""
    home = tmp_path / "registry"
    home.mkdir()
    store = ("--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts"))
    command = ("mlflow", "server", "--host", "127.0.0.1", "--port", "{port}", "--workers", "1", *store)
    with Server(home, *command, health="/health", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false") as server:
        yield server
        server.end(signal.SIGKILL)  # it would take its time


@pytest.fixture
def told() -> Iterator[tuple[str, list[str]]]:
    """The address of an HTTP server, and what was posted to it."""
    posted: list[str] = []

    class Post(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Post) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", posted
        server.shutdown()


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
