"""The smoke test: a process of its own loads the registered model and predicts test rows as in evaluation.

It runs with the code that the model brings along.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import numpy as np

from schemas.promotion import Check
from schemas.stages import Input
from tasks.metrics import Scored

PREDICTIONS = "predictions.json"
"""What evaluate publishes for the test: its predictions of the first test rows, without the rows."""

_MOST_ROWS = 200
_TOLERANCE = 1e-3  # of the largest prediction, as GPUs multiply with 10 bits; on one processor nothing differs
_TIMEOUT_S = 600
_LOADER = """
import json, sys
import keras, pandas, pyarrow
code, *asked = json.loads(sys.stdin.readline())
sys.path.insert(0, code)
from tasks.promotion import smoke
smoke.main(*asked)
"""
"""What the process runs: what the model brings along is there by the time it is asked."""


def note(folder: Path, test: Scored) -> None:
    """Write the predictions of the first test rows."""
    rows = test.predicted[:_MOST_ROWS].tolist()
    (folder / PREDICTIONS).write_text(json.dumps({"test": rows}) + "\n")


class Tester:
    """Tests a model in a process that may begin before the model is there, and loads TensorFlow meanwhile."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        """Return the tester; its process ends with the body."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def start(self) -> None:
        """Let the process begin, where there is TensorFlow."""
        if _has_tensorflow():
            self._process = self._process or _begun()

    def check(self, model: Path, *, rows: Path, evaluated: Path, count: int) -> Check:
        """Return whether a downloaded MLflow model predicts the first rows of a file as evaluate's directory says.

        Where there is no TensorFlow, as in the image of the flow, the files alone are compared, by their SHA-256.
        """
        self.start()
        bundle = model / "artifacts" / "bundle"
        if self._process is None:
            return _whole(bundle)
        asked = [str(model / "code"), str(bundle), str(rows), str(evaluated / PREDICTIONS), str(count)]
        try:
            said, complaint = self._process.communicate(json.dumps(asked) + "\n", timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return _failed(f"it was not loaded within {_TIMEOUT_S} s")
        if self._process.returncode:
            return _failed(f"it does not load: {(complaint.strip().splitlines() or ['no message'])[-1]}")
        found = json.loads(said.splitlines()[-1])
        return _judged(float(found["difference"]), int(found["rows"]))


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _begun() -> subprocess.Popen[str]:
    """Begin the process; it finds what this process finds, but for GPUs."""
    paths = [*(path for path in sys.path if path), str(Path.cwd())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "-1"}
    command, pipe = [sys.executable, "-P", "-W", "ignore", "-c", _LOADER], subprocess.PIPE
    return subprocess.Popen(command, env=environment, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def _whole(bundle: Path) -> Check:
    from tasks.bundle import Bundle

    Bundle(Input(path=str(bundle)))
    said = "the registered files are whole, by their SHA-256; they were not loaded: there is no TensorFlow here"
    return Check(name="smoke", passed=True, sentence=said)


def _judged(difference: float, compared: int) -> Check:
    if not difference <= _TOLERANCE:
        said = f"predictions of {compared} test rows differ by up to {difference:.3g} of the largest"
        return _failed(f"{said} from those of the evaluation", difference)
    within = f"within {difference:.1g}" if difference else "to the last bit"
    sentence = f"a new process loads it from the registry and predicts {compared} test rows as evaluated, {within}"
    return Check(name="smoke", passed=True, value=difference, wanted=_TOLERANCE, sentence=sentence)


def _failed(why: str, value: float | None = None) -> Check:
    value = value if value is not None and np.isfinite(value) else None
    return Check(
        name="smoke", passed=False, value=value, wanted=_TOLERANCE, sentence=f"the registered model fails: {why}"
    )


def main(bundle: str, rows: str, expected: str, count: str) -> None:
    """Predict the first rows of a file with a bundle, and print the largest difference as JSON."""
    from tasks.bundle import Bundle
    from tasks.tables import read_batches

    batch = next(iter(read_batches(Path(rows)))).slice(0, int(count))
    said = Bundle(Input(path=bundle)).predict(batch)
    wanted = np.asarray(json.loads(Path(expected).read_text())["test"], np.float64)[: len(said)]
    scale = float(np.abs(wanted).max()) or 1.0
    difference = float(np.abs(said - wanted).max()) / scale if said.shape == wanted.shape else float("inf")
    sys.stdout.write(json.dumps({"difference": difference, "rows": len(said)}) + "\n")
