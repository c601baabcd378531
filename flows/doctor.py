"""What the machine has of what Evermodel needs."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.errors import EvermodelError
from tasks.workspaces import place

_PACKAGES = ("pandas", "pyarrow", "pandera", "scikit-learn", "keras", "matplotlib", "mlflow", "prefect")


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    seen: str
    good: bool
    remedy: str = ""
    needed: bool = True


def findings(workspace: str) -> Iterator[Finding]:
    """Yield what was found, each with a remedy where something is missing."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("Python", version, (3, 11) <= sys.version_info < (3, 14), "use Python 3.11, 3.12 or 3.13")
    for name in _PACKAGES:
        yield _package(name)
    yield _tensorflow()
    yield _workspace(workspace)
    yield _server("Prefect server", "PREFECT_API_URL", "none set: each run starts a temporary one")
    yield _server("MLflow server", "MLFLOW_TRACKING_URI", "none set: SQLite and files in the workspace")
    engine = ["docker", "version", "--format", "{{.Server.Version}}"]
    yield _command("Docker engine", engine, "needed for stages in containers only")
    cards = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    yield _command("GPU", cards, "training runs on the CPU")


def _package(name: str) -> Finding:
    try:
        return Finding(name, importlib.metadata.version(name), good=True)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "not installed", good=False, remedy="run make setup")


def _tensorflow() -> Finding:
    for name in ("tensorflow", "tensorflow-cpu"):
        found = _package(name)
        if found.good:
            return found
    return found


def _workspace(workspace: str) -> Finding:
    try:
        home = place(workspace)
        home.fetch()
        there = next(path for path in (home.directory, *home.directory.parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free >> 30
    except EvermodelError as error:
        return Finding("workspace", str(error), good=False, remedy="choose another --workspace")
    except OSError as error:
        return Finding("workspace", f"{workspace}: {error.strerror}", good=False, remedy="choose another --workspace")
    return Finding("workspace", f"{workspace} can be written, {free} GiB free", good=free > 0, remedy="free some space")


def _server(what: str, variable: str, default: str) -> Finding:
    address = os.environ.get(variable)
    if not address or not address.startswith("http"):
        return Finding(what, address or default, good=True)
    import requests

    try:
        answer = requests.get(f"{address.rstrip('/')}/health", timeout=5)
    except requests.RequestException as error:
        return Finding(what, f"{address}: {type(error).__name__}", good=False, remedy=f"start it or unset {variable}")
    return Finding(what, f"{address} answers", good=answer.ok, remedy=f"it says {answer.status_code}: look at its log")


def _command(what: str, command: list[str], without: str) -> Finding:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Finding(what, "none", good=False, remedy=without, needed=False)
    lines = (answer.stdout.strip() or answer.stderr.strip() or "no answer").splitlines()
    return Finding(what, lines[-1], good=answer.returncode == 0, remedy=without, needed=False)
