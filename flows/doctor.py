"""What the machine has of what Evermodel needs."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace

from flows import images
from schemas.errors import EvermodelError
from tasks.workspaces import place

_USER = re.compile("//[^/]*@")
"""User and password in a URL, which are shown to nobody."""
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
    from prefect.settings import PREFECT_API_URL  # of the environment or of Prefect's profile

    temporary = "none set: each run starts a temporary one"
    yield _server("Prefect server", "PREFECT_API_URL", PREFECT_API_URL.value(), temporary)
    in_workspace = "none set: SQLite and files in the workspace"
    yield _server("MLflow server", "MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI"), in_workspace)
    yield from _engine()
    yield from _gpus()


def _engine() -> Iterator[Finding]:
    """Yield what the Docker engine has: itself, the images of the stages, and a way to hand out GPUs."""
    version = ["docker", "version", "--format", "{{.Server.Version}}"]
    found = _command("Docker engine", version, "needed for stages in containers alone: install Docker and start it")
    yield found
    if not found.good:
        return
    absent = [
        each for each in images.TARGETS if not _command("", ["docker", "image", "inspect", images.name(each)]).good
    ]
    said = f"no {', '.join(absent)}" if absent else f"all of {images.name('STAGE')}"
    yield Finding("images", said, good=not absent, remedy="evermodel images build", needed=False)
    runtimes = _command("", ["docker", "info", "--format", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}"]).seen
    good = "nvidia" in runtimes or shutil.which("nvidia-container-cli") is not None
    remedy = "for GPUs in containers install the NVIDIA Container Toolkit: nvidia-ctk runtime configure"
    yield Finding("engine's GPU support", "NVIDIA runtime" if good else "none", good=good, remedy=remedy, needed=False)


def _gpus() -> Iterator[Finding]:
    """Yield the driver with its cards, and whether TensorFlow here is built for them and sees them."""
    cards = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    driver = _command("GPU driver", cards, "training runs on the CPU; with a card, install NVIDIA's driver")
    yield driver
    if not driver.good:
        return
    remedy = "install requirements/train-gpu.txt, which brings CUDA's libraries, or train in the image train-gpu"
    code = "import tensorflow as tf; print(len(tf.config.list_physical_devices('GPU')), 'GPUs seen by TensorFlow')"
    seen = _command("CUDA libraries", [sys.executable, "-c", code], remedy)
    yield replace(seen, good=seen.good and not seen.seen.startswith("0 "))


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


def _server(what: str, variable: str, address: str | None, default: str) -> Finding:
    shown = _USER.sub("//", address) if address else default
    if not address or not address.startswith("http"):
        return Finding(what, shown, good=True)
    import requests

    try:
        answer = requests.get(f"{address.rstrip('/')}/health", timeout=5)
    except requests.RequestException as error:
        return Finding(what, f"{shown}: {type(error).__name__}", good=False, remedy=f"start it or unset {variable}")
    return Finding(what, f"{shown} answers", good=answer.ok, remedy=f"it says {answer.status_code}: look at its log")


def _command(what: str, command: list[str], without: str = "") -> Finding:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Finding(what, "none", good=False, remedy=without, needed=False)
    lines = (answer.stdout.strip() or answer.stderr.strip() or "no answer").splitlines()
    return Finding(what, lines[-1], good=answer.returncode == 0, remedy=without, needed=False)
