"""What of this machine a stage's container sees: files, environment variables, the network."""

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

from docker.types import Mount

from schemas.data import Source, environment_names
from schemas.runners import Docker, StageName
from schemas.stages import EvaluateRequest, IngestRequest, RegisterRequest, Request, TrainRequest, TuneRequest
from tasks import plugins, quotes, workspaces
from tasks.register import registry_of
from tasks.workspaces import Place, place

_CODE = Path("/opt/evermodel-code")
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
_STORE, _REGISTRY = re.compile(r"^AWS_(?!.*_FILE$)"), re.compile(r"^MLFLOW_(?!.*_FILE$)")


def mounts(stage: StageName, request: Request, workspace: Place) -> list[Mount]:
    """Return what is mounted, each thing at its own path: of the workspace a stage can change its own folders alone.

    A mirror of a workspace elsewhere can be changed, since the container fetches its inputs itself. What training
    measures of this machine lies beside the mirrors.
    """
    home = workspace.directory
    own = [home / stage if workspace.is_local else home]
    if isinstance(request, TuneRequest | TrainRequest):
        own.append(home / "checkpoints")
    if isinstance(request, RegisterRequest) and registry_of(request).is_local:
        own.append(home / "mlflow")
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
    own += _timings() if trains(request) else []
    source = local_source(request.source) if isinstance(request, IngestRequest) else None
    read = [*([home] if workspace.is_local else []), *([source] if source else [])]
    return [
        *(Mount(str(path), str(path), type="bind", read_only=True) for path in read),
        *(Mount(str(path), str(path), type="bind") for path in own),
        *(Mount(str(_CODE / path.name), str(path), type="bind", read_only=True) for path in _code()),
    ]


def trains(request: Request) -> bool:
    """Say whether a stage trains networks."""
    if isinstance(request, EvaluateRequest):
        return request.evaluation.trains
    return isinstance(request, TuneRequest | TrainRequest)


def _timings() -> list[Path]:
    """Return the folder of what was measured on this machine; without one, the container goes by rules."""
    folder = workspaces.timings()
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return [folder] if folder.is_dir() else []


def local_source(source: Source) -> Path | None:
    """Return the file or folder of this machine that is read; of a glob, the folder before its first sign."""
    location = source.location.removeprefix("file://")
    if "://" in location:
        return None
    path = Path(location).absolute()
    while not path.exists() and path.parent != path:
        path = path.parent
    return path


def _code() -> Iterator[Path]:
    """Yield the modules of the user's own that the operator allows: top-level packages and files."""
    for name in plugins.allowed():
        found = importlib.util.find_spec(name.partition(".")[0])
        if found and found.submodule_search_locations:
            yield Path(next(iter(found.submodule_search_locations))).absolute()
        elif found and found.origin:
            yield Path(found.origin).absolute()


def environment(request: Request, runner: Docker) -> dict[str, str]:
    """Return the environment variables that the container gets: those that the stage needs and those that are named."""
    names = {*_THREADS, plugins.ALLOWED, quotes.HIDE_VALUES, *runner.environment}
    if isinstance(request, IngestRequest):
        names |= {*environment_names(request.source.path)}
    if needs_network(request):
        names |= {name for name in os.environ if _STORE.match(name)}
        if isinstance(request, RegisterRequest):
            names |= {name for name in os.environ if _REGISTRY.match(name)}
    found = {name: os.environ[name] for name in names if name in os.environ}
    return found | {"PYTHONPATH": f"/opt/evermodel:{_CODE}", workspaces.CACHE: str(workspaces.cache())}


def needs_network(request: Request) -> bool:
    """Say whether a stage has to reach another machine: for a workspace, a registry or data elsewhere."""
    if not place(request.workspace).is_local:
        return True
    if isinstance(request, IngestRequest):
        return local_source(request.source) is None
    return isinstance(request, RegisterRequest) and not registry_of(request).is_local
