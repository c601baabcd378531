"""The smoke test: a process of its own loads the registered model and predicts test rows as in evaluation.

    python -m tasks.promotion.smoke BUNDLE ROWS EXPECTED COUNT

runs with the code that the model brings along, and prints the largest difference as JSON.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from schemas.promotion import Check
from schemas.stages import Input
from tasks.metrics import Scored

PREDICTIONS = "predictions.json"
"""What evaluate publishes for the test: its predictions of the first test rows, without the rows."""

_MOST_ROWS = 200
_TOLERANCE = 1e-3  # of the largest prediction, as GPUs multiply with 10 bits; on one processor nothing differs
_TIMEOUT_S = 600


def note(folder: Path, test: Scored) -> None:
    """Write the predictions of the first test rows."""
    rows = test.predicted[:_MOST_ROWS].tolist()
    (folder / PREDICTIONS).write_text(json.dumps({"test": rows}) + "\n")


def check(model: Path, *, rows: Path, evaluated: Path, count: int) -> Check:
    """Return whether a downloaded MLflow model predicts the first rows of a file as evaluate's directory says.

    Where there is no TensorFlow, as in the image of register, the files alone are compared, by their SHA-256.
    """
    bundle = model / "artifacts" / "bundle"
    if importlib.util.find_spec("tensorflow") is None:
        from tasks.bundle import Bundle

        Bundle(Input(path=str(bundle)))
        said = "the registered files are whole, by their SHA-256; they were not loaded: there is no TensorFlow here"
        return Check(name="smoke", passed=True, sentence=said)
    places = [bundle, rows, evaluated / PREDICTIONS]
    command = [sys.executable, "-P", "-W", "ignore", "-m", "tasks.promotion.smoke", *map(str, places), str(count)]
    try:
        done = subprocess.run(
            command, env=_environment(model / "code"), capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return _failed(f"it was not loaded within {_TIMEOUT_S} s")
    if done.returncode:
        return _failed(f"it does not load: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    difference, compared = float(found["difference"]), int(found["rows"])
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


def _environment(code: Path) -> dict[str, str]:
    """Return an environment in which the model's own code is found first, then what this process finds."""
    paths = [str(code), *(path for path in sys.path if path), str(Path.cwd())]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": "-1"}


def _main(bundle: str, rows: str, expected: str, count: str) -> None:
    from tasks.bundle import Bundle
    from tasks.tables import read_batches

    batch = next(iter(read_batches(Path(rows)))).slice(0, int(count))
    said = Bundle(Input(path=bundle)).predict(batch)
    wanted = np.asarray(json.loads(Path(expected).read_text())["test"], np.float64)[: len(said)]
    scale = float(np.abs(wanted).max()) or 1.0
    difference = float(np.abs(said - wanted).max()) / scale if said.shape == wanted.shape else float("inf")
    sys.stdout.write(json.dumps({"difference": difference, "rows": len(said)}) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
