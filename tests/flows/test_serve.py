"""R41: the registry's own server answers with the champion's predictions."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
import requests

pytestmark = pytest.mark.slow


@pytest.fixture
def served(evermodel: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> Iterator[str]:
    """Address of `mlflow models serve` with the champion of the breast-cancer example."""
    evermodel("example", "breast-cancer")
    evermodel("run", "breast-cancer.yaml", "--set", "training.epochs=3")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/.evermodel/mlflow/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    command = ["mlflow", "models", "serve", "-m", "models:/breast-cancer@champion", "--env-manager", "local"]
    with subprocess.Popen([*command, "-p", str(port)], env=environment, cwd=tmp_path, start_new_session=True) as server:
        yield _answering(f"http://127.0.0.1:{port}", server)
        os.killpg(server.pid, 15)


def _answering(address: str, server: subprocess.Popen[bytes]) -> str:
    for _ in range(400):
        assert server.poll() is None, "the server ended"
        try:
            if requests.get(f"{address}/ping", timeout=5).ok:
                return address
        except requests.ConnectionError:
            time.sleep(1)
    raise AssertionError("the server does not answer")


def test_a_raw_row_over_http_gets_the_same_prediction(
    evermodel: Callable[..., subprocess.CompletedProcess[str]], served: str, tmp_path: Path
) -> None:
    raw = pd.read_csv(tmp_path / "breast-cancer.csv").drop(columns="diagnosis").head(5)
    raw.to_csv(tmp_path / "five.csv", index=False)
    evermodel("predict", "breast-cancer", "five.csv", "-o", "five.parquet")
    expected = pd.read_parquet(tmp_path / "five.parquet")

    body = {"dataframe_split": json.loads(raw.to_json(orient="split", double_precision=15))}
    answer = requests.post(f"{served}/invocations", json=body, timeout=60).json()["predictions"]
    assert [each["prediction"] for each in answer] == expected.prediction.tolist()
    assert [each["probability"] for each in answer] == expected.probability.tolist()


def test_a_row_that_breaks_the_contract_is_refused_with_the_reason(served: str, tmp_path: Path) -> None:
    raw = pd.read_csv(tmp_path / "breast-cancer.csv", dtype=str).head(1).assign(**{"mean area": "wide"})
    body = {"dataframe_split": json.loads(raw.to_json(orient="split"))}
    answer = requests.post(f"{served}/invocations", json=body, timeout=60)
    assert answer.status_code == 400
    assert "mean area is no number" in answer.text
