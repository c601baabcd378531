"""What the tests of several stages share."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyarrow.fs import S3FileSystem

from schemas.contract import Contract
from schemas.data import Source
from schemas.period import Period
from schemas.spec import Spec
from schemas.stages import IngestRequest

_CHECKOUT = Path(__file__).parents[1]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it to what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # or workers would never hear of it

_SPEC = {
    "name": "test",
    "problem": "binary",
    "target": {"column": "y"},
    "columns": {"x": {"kind": "numeric"}},
}


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two hundred rows: a key, a number, a colour, and yes or no."""
    random = np.random.default_rng(0)
    x = random.normal(size=200).round(6)
    return pd.DataFrame(
        {
            "id": range(200),
            "x": x,
            "colour": random.choice(["red", "green", "blue"], 200),
            "y": np.where(x > 0, "yes", "no"),
        }
    )


@pytest.fixture
def ingest_request(tmp_path: Path) -> Callable[..., IngestRequest]:
    """Write rows to a file and return the request to ingest them, for a spec of which keys are given: x predicts y.

    Rows are a frame, or the content of a file whose name says the format. A path is read as it is.
    """

    def request(rows: Any, *, name: str = "rows.csv", data: dict[str, Any] | None = None, **keys: Any) -> IngestRequest:
        path = rows if isinstance(rows, Path | str) else _written(rows, tmp_path / name)
        spec = Spec.model_validate({**_SPEC, "data": {"path": str(path), **(data or {})}, **keys})
        return IngestRequest(
            workspace=str(tmp_path / "workspace"),
            source=Source(**{each: getattr(spec.data, each) for each in Source.model_fields}),
            contract=Contract.of(spec),
            split=spec.split,
            period=Period.of(spec),
            extra=spec.data.extra,
            minimum_rows=spec.data.minimum_rows,
            maximum_rejected=spec.data.maximum_rejected,
        )

    return request


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Docker engine with the images of this checkout; made once, whichever test process comes first."""
    import docker
    from flows import images

    with (tmp_path_factory.getbasetemp().parent / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = subprocess.run([_CHECKOUT / ".ci" / "engine"], capture_output=True, text=True, check=False)
        if started.returncode and not os.environ.get("CI"):
            pytest.skip(f"no Docker engine: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        client = docker.from_env()
        if not _are_current(client, images):
            environment = {**os.environ, images.BASE: started.stdout.strip()}
            command = [sys.executable, "-m", "flows.cli", "images", "build", "--network", "host"]
            built = subprocess.run(command, cwd=_CHECKOUT, env=environment, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return client


def _are_current(client: Any, images: Any) -> bool:
    from docker.errors import ImageNotFound

    try:
        found = [client.images.get(images.name(target)) for target in images.TARGETS]
    except ImageNotFound:
        return False
    return all(image.labels.get(images.SOURCES) == images.sources() for image in found)


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """The paths of Chromium and of its driver; installed, where they can be, when they are missing."""
    found = subprocess.run([_CHECKOUT / ".ci" / "browser"], capture_output=True, text=True, check=False)
    if found.returncode and not os.environ.get("CI"):
        pytest.skip(f"no browser: {found.stderr.strip()}")
    assert found.returncode == 0, found.stderr
    browser, driver = found.stdout.split()
    return browser, driver


@pytest.fixture
def browser(chromium: tuple[str, str]) -> Iterator[Any]:
    """A headless Chromium with an empty profile, driven by Selenium (`selenium.webdriver.Chrome`)."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location, driver = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as browser:
        yield browser


def _written(rows: pd.DataFrame | bytes, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(rows, bytes):
        path.write_bytes(rows)
    elif path.suffix == ".parquet":
        rows.to_parquet(path, index=False)
    elif path.suffix == ".jsonl":
        rows.to_json(path, orient="records", lines=True, date_format="iso")
    elif path.suffix == ".arrow":
        rows.to_feather(path)
    else:
        rows.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server of this test run's own, which forgets all in the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", port]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(int(port))
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def _wait_for_port(port: int) -> None:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the S3 server never came up")


@pytest.fixture
def bucket(s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, with the environment set so that it is found, and with a mirror of its own."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "key-of-the-tests",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-tests",
        "AWS_REGION": "us-east-1",
        "EVERMODEL_CACHE": str(tmp_path / "mirror"),
    }.items():
        monkeypatch.setenv(name, value)
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    S3FileSystem(endpoint_override=s3_server, region="us-east-1", allow_bucket_creation=True).create_dir(name)
    return f"s3://{name}"
