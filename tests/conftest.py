"""What the tests of several stages share."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.contract import Contract
from schemas.spec import Source, Spec
from schemas.stages import IngestRequest

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

    checkout = Path(__file__).parents[1]
    with (tmp_path_factory.getbasetemp().parent / "engine.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        started = subprocess.run([checkout / ".ci" / "engine"], capture_output=True, text=True, check=False)
        if started.returncode and not os.environ.get("CI"):
            pytest.skip(f"no Docker engine: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        client = docker.from_env()
        if not _are_current(client, images):
            environment = {**os.environ, images.BASE: started.stdout.strip()}
            command = [sys.executable, "-m", "flows.cli", "images", "build", "--network", "host"]
            built = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
            assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    return client


def _are_current(client: Any, images: Any) -> bool:
    from docker.errors import ImageNotFound

    try:
        found = [client.images.get(images.name(target)) for target in images.TARGETS]
    except ImageNotFound:
        return False
    return all(image.labels.get(images.SOURCES) == images.sources() for image in found)


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
