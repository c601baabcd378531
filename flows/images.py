"""The images of the stages: their names, what they were made from, and how they are built."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from schemas import __version__
from schemas.document import digest
from schemas.errors import ResourceError, SpecError

PREFIX = "EVERMODEL_IMAGES"
BASE = "EVERMODEL_PYTHON_IMAGE"
SOURCES = "io.evermodel.sources"

TARGETS = ("ingest", "encode", "train", "predict", "evaluate", "register", "mlflow-server", "flow", "pool")
GPU_TARGETS = ("train-gpu", "pool-gpu")

_ROOT = Path(__file__).parent.parent


def name(target: str) -> str:
    """Return an image's name: of this version, behind the prefix that EVERMODEL_IMAGES sets (`evermodel`)."""
    return f"{os.environ.get(PREFIX) or 'evermodel'}-{target}:{__version__}"


def sources() -> str:
    """Return the digest of the stages' code. An image with another one would publish under other run keys."""
    files = (path for folder in ("schemas", "tasks") for path in (_ROOT / folder).rglob("*") if path.is_file())
    return digest(
        {
            path.relative_to(_ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if "__pycache__" not in path.parts
        }
    )


def build(targets: Sequence[str], *, options: Sequence[str] = (), inventories: Path) -> Iterator[tuple[str, int]]:
    """Build the images by `docker build`, with further options of its own; yield each name and its size in bytes.

    The list of what is installed in each (the report of `pip inspect`) is written to `inventories`. Raises SpecError
    outside a checkout, ResourceError when a build fails.
    """
    if not (_ROOT / "docker" / "Dockerfile").is_file():
        raise SpecError("images are built from a checkout of Evermodel: there is no docker/Dockerfile here")
    base = os.environ.get(BASE)
    labels = {
        SOURCES: sources(),
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.revision": _git("rev-parse", "HEAD"),
        "org.opencontainers.image.source": _without_password(_git("config", "--get", "remote.origin.url")),
    }
    settings = [option for key, value in labels.items() if value for option in ("--label", f"{key}={value}")]
    settings += ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
    for target in targets:
        image = name(target)
        command = ["docker", "build", "--file", "docker/Dockerfile", "--target", target, "--tag", image]
        _docker([*command, *settings, *options, "."], f"building {image} failed")
        yield image, int(_docker(["docker", "image", "inspect", "--format", "{{.Size}}", image], f"{image} is gone"))
        _write_inventory(image, inventories / f"{target}.json")


def push(image: str, registry: str) -> str:
    """Push an image to a registry, such as registry.example.org/team; return its name there."""
    there = f"{registry.rstrip('/')}/{image.rpartition('/')[2]}"
    _docker(["docker", "tag", image, there], f"{image} cannot be tagged {there}")
    _docker(["docker", "push", there], f"pushing {there} failed")
    return there


def _write_inventory(image: str, path: Path) -> None:
    command = ["docker", "run", "--rm", "--network", "none", "--entrypoint", "cat", image, "/opt/evermodel/sbom.json"]
    report = json.loads(_docker(command, f"{image} has no list of its packages"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")


def _docker(command: Sequence[str], failure: str) -> str:
    """Run a docker command, its messages on standard error; return what it prints."""
    to_terminal = command[1] in ("build", "push")
    try:
        done = subprocess.run(command, cwd=_ROOT, check=False, text=True, stdout=2 if to_terminal else subprocess.PIPE)
    except OSError as error:
        raise ResourceError(f"{failure}: no docker command on PATH; install Docker") from error
    if done.returncode:
        raise ResourceError(f"{failure} (exit code {done.returncode}); docker's own message stands above")
    return done.stdout or ""


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//", url)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, check=False, text=True, capture_output=True)
    except OSError:
        return ""
    return done.stdout.strip()
