"""A stage in a container of its own, through this machine's Docker engine."""

import contextlib
import json
import logging
import os
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import DeviceRequest

import docker
from flows import images
from flows.runners import mounts
from flows.runners.watch import watched
from schemas.errors import BY_EXIT_CODE, ResourceError, StoppedError
from schemas.runners import Docker, Gpu, StageName
from schemas.stages import Request
from tasks.scratch import is_held, scratch
from tasks.workspaces import place

WORKSPACE, REQUEST = "io.evermodel.workspace", "io.evermodel.request"

_GRACE_S = 8
_LINES_KEPT = 20


def run(stage: StageName, request: Request, runner: Docker, *, model: str) -> None:
    """Run a stage in a container; its log comes back as if it had run here.

    Raises the error that the stage ended with, and ResourceError when there is no engine, image or GPU, when the
    container ran out of memory or time, or was killed. No container stays, whatever happens: those of killed flows
    are removed by the next run in the same workspace.
    """
    engine = _engine()
    home = place(request.workspace)
    workspace = home.directory
    image = _image(engine, runner.image or images.name(target(stage, request, runner)))
    with scratch(workspace / "requests" / stage) as folder:  # while this flow lives, it holds the folder's lock
        _remove_orphans(engine, workspace)
        (folder / "request.json").write_text(request.model_copy(update={"workspace": str(home)}).to_json())
        with _container(engine, image, options(stage, request, runner, folder, model)) as container:
            with watched(stage, timeout_s=runner.timeout_s, stop=lambda: _stop(container)):
                container.start()
                log = _Log(stage, container)
            _raise_for(stage, container, log, runner)


def _engine() -> docker.DockerClient:
    try:
        engine = docker.from_env(timeout=120)
        engine.ping()
    except DockerException as error:
        raise ResourceError(
            f"no Docker engine answers ({error}); start one, set DOCKER_HOST, or take another runner"
        ) from error
    return engine


def target(stage: StageName, request: Request, runner: Docker) -> str:
    """Return the target of the Dockerfile that holds a stage: train's holds tune, that of pools evaluate on a GPU."""
    on_gpu = runner.gpu is not None and mounts.trains(request)
    if stage == "evaluate":
        return "pool-gpu" if on_gpu else stage
    holder = "train" if stage == "tune" else stage
    return f"{holder}-gpu" if on_gpu else holder


def _image(engine: docker.DockerClient, name: str) -> str:
    """Return the id of an image that holds the code of this flow; one that names its registry is pulled if absent."""
    try:
        try:
            image = engine.images.get(name)
        except ImageNotFound:
            if "/" not in name:  # a name without a registry is our own: nobody else's may take its place
                raise
            image = engine.images.pull(name)
    except ImageNotFound as error:
        raise ResourceError(f"there is no image {name}; `evermodel images build` makes it") from error
    except APIError as error:
        raise ResourceError(f"image {name} cannot be had: {error.explanation or error}") from error
    if image.labels.get(images.SOURCES) != images.sources():
        raise ResourceError(f"image {name} holds other code than this flow; `evermodel images build` makes it anew")
    return str(image.id)


def _remove_orphans(engine: docker.DockerClient, workspace: Path) -> None:
    """Remove containers of flows that were killed: nobody holds the folder of their request any more."""
    ours = {"label": f"{WORKSPACE}={workspace}"}
    for container in engine.containers.list(all=True, ignore_removed=True, filters=ours):
        if not is_held(Path(container.labels[REQUEST])):
            with contextlib.suppress(APIError):  # another run has removed it, or is about to
                container.remove(force=True)


def options(stage: StageName, request: Request, runner: Docker, folder: Path, model: str) -> dict[str, Any]:
    """Return what the engine makes the container of: its limits, what it sees and what it may not."""
    home, holder = place(request.workspace), target(stage, request, runner)
    return {
        "name": f"evermodel-{model}-{stage}-{uuid.uuid4().hex[:8]}",
        "entrypoint": None if holder in (stage, f"{stage}-gpu") else ["python", "-m", f"tasks.{stage}"],
        "command": ["--json-log", str(folder / "request.json")],
        "labels": {WORKSPACE: str(home.directory), REQUEST: str(folder)},
        "user": f"{os.getuid()}:{os.getgid()}",
        "mounts": mounts.mounts(stage, request, home),
        "environment": mounts.environment(request, runner),
        "network_mode": runner.network or ("bridge" if mounts.needs_network(request) else "none"),
        "read_only": True,
        "tmpfs": {"/tmp": "rw,nosuid,nodev,mode=1777"},  # noqa: S108 - the container's own
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "pids_limit": runner.pids,
        "mem_limit": runner.memory,
        "memswap_limit": runner.memory,
        "nano_cpus": int(runner.cpus * 1e9) if runner.cpus else None,
        "shm_size": runner.shared_memory,
        "device_requests": device_requests(runner.gpu),
        "init": True,
    }


def device_requests(gpu: Gpu | None) -> list[DeviceRequest]:
    """Return what the engine is asked for: all GPUs, so many, or those of these ids."""
    if gpu is None:
        return []
    wanted = {"device_ids": list(gpu)} if isinstance(gpu, tuple) else {"count": -1 if gpu == "all" else gpu}
    return [DeviceRequest(driver="", capabilities=[["gpu"]], **wanted)]


@contextlib.contextmanager
def _container(engine: docker.DockerClient, image: str, options: dict[str, Any]) -> Iterator[Container]:
    try:
        container = engine.containers.create(image, **options)
    except APIError as error:
        raise ResourceError(f"the Docker engine refuses the container: {error.explanation or error}") from error
    try:
        yield container
    except APIError as error:
        raise ResourceError(_refusal(str(error.explanation or error))) from error
    except requests.RequestException as error:
        raise ResourceError(f"the Docker engine answers no more ({error}); run again when it is back") from error
    finally:
        _stop(container)
        with contextlib.suppress(NotFound, requests.RequestException):
            container.remove(force=True)


def _refusal(said: str) -> str:
    if "could not select device driver" in said or "nvidia" in said.lower():
        return f"the Docker engine has no GPU to give: {said}; `evermodel doctor` says what is missing"
    return f"the Docker engine refuses the container: {said}"


def _stop(container: Container) -> None:
    """Let the stage end by itself: SIGTERM, and SIGKILL after some seconds; nothing if it has ended."""
    with contextlib.suppress(APIError, requests.RequestException):
        container.stop(timeout=_GRACE_S)


class _Log:
    """A container's standard error, line by line until its end: log lines go to the log here, others are kept."""

    def __init__(self, stage: StageName, container: Container) -> None:
        self.error, self._lines = "", deque[str](maxlen=_LINES_KEPT)
        self._logger = logging.getLogger(f"evermodel.{stage}")
        rest = b""
        for piece in container.logs(stream=True, follow=True, stdout=False, stderr=True):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                self._add(line.decode(errors="replace"))
        self._add(rest.decode(errors="replace"))

    @property
    def tail(self) -> str:
        """The last lines that were no log lines."""
        return "\n".join(self._lines) or "it said nothing"

    def _add(self, line: str) -> None:
        try:
            entry = json.loads(line)
            level, message = logging.getLevelNamesMapping()[entry.pop("level").upper()], entry.pop("message")
        except (ValueError, AttributeError, KeyError, TypeError):
            self._lines.append(line)
            return
        if level >= logging.ERROR:
            self.error = message
        else:
            entry.pop("time", None)
            self._logger.log(level, "%s", message, extra={"event": entry})


def _raise_for(stage: StageName, container: Container, log: _Log, runner: Docker) -> None:
    """Raise what a container that has ended, ended with."""
    container.wait()
    container.reload()
    state = container.attrs["State"]
    code = int(state["ExitCode"])
    if code == 0:
        return
    if state["OOMKilled"]:
        limit = f"may use {runner.memory}" if runner.memory else "has no limit, and the machine had no more"
        raise ResourceError(f"{stage}: out of memory: its container {limit}; raise memory of its runner")
    if code in BY_EXIT_CODE and log.error:
        raise BY_EXIT_CODE[code](log.error.partition(": ")[2])
    if code == StoppedError.exit_code:
        raise ResourceError(f"{stage}: its container was stopped from outside; run again to go on where it was")
    if code == 137:
        raise ResourceError(f"{stage}: its container was killed from outside; run again")
    raise ResourceError(f"{stage}: its container ended with exit code {code}:\n{log.tail}")
