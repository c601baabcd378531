"""Deployments: the retraining of a model, and each of its stages that runs on a work pool."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import WorkPool as Pool
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow

from flows import images
from flows.automations import Wanted, renew
from flows.events import UPDATED
from flows.form import form
from flows.monitor import monitor
from flows.retrain import GPU, retrain
from flows.runners.docker import device_requests
from flows.runners.mounts import local_source
from flows.runners.work_pool import deployment
from flows.stage import stage as stage_flow
from flows.watch import watch
from schemas.data import Source
from schemas.errors import ResourceError, SpecError
from schemas.runners import Gpu, StageName, WorkPool
from schemas.spec import Spec
from schemas.spec_file import resolve_path
from tasks.quotes import HIDE_VALUES
from tasks.workspaces import place

_PASSED_ON = ("EVERMODEL_ALLOW_MODULES", HIDE_VALUES, "MLFLOW_TRACKING_URI")


class Deployed(NamedTuple):
    """A deployment that stands on the server."""

    name: str
    """Flow and deployment, such as retrain/churn."""
    pool: str | None
    """Its work pool; None when it is to be served."""
    id: UUID


def deploy(
    spec: Spec,
    *,
    workspace: str,
    pool: str | None,
    schedules: Sequence[DeploymentScheduleCreate] = (),
    automations: Wanted = Wanted(),  # noqa: B008 - it is frozen
    watch_every_s: float | None = None,
) -> Iterator[Deployed]:
    """Make or renew a deployment of `retrain` for the spec, and one for each stage whose runner is a work pool.

    Yields each. A pool that the spec names must be there; `pool`, for the flow itself, is made, of type process, if it
    is not. Without it the deployment is for a process that serves it. With `watch_every_s` there is one of `watch`,
    too, and a run starts when it has seen new data. Raises ResourceError without the pool, SpecError for what it cannot
    do.
    """
    workspace = str(place(workspace))
    with get_client(sync_client=True) as client:
        for name in spec.stages:
            own, with_gpus = spec.runner.of(name), spec.runner_of(name)
            if isinstance(own, WorkPool) and isinstance(with_gpus, WorkPool):
                found = _pool(client, own.pool)
                runner = own if found.type == "process" else with_gpus  # the worker's own machine has GPUs, or not
                variables = job_variables(name, runner, spec, workspace=workspace, kind=found.type)
                made = _deploy(client, stage_flow, deployment(spec.name, name), found, variables, queue=runner.queue)
                yield Deployed(f"stage/{deployment(spec.name, name)}", found.name, made)
        if any(spec.uses_gpu(name) for name in spec.stages):
            _limit_gpu(client)
        home = _home(client, pool) if pool else None
        variables = _of_flow(home, spec, workspace, gpu=spec.gpus_of_flow)
        parameters = {"spec": spec.model_dump(mode="json", exclude_unset=True), "workspace": workspace}
        made = _deploy(client, retrain, spec.name, home, variables, parameters=parameters, schedules=schedules)
        renew(client, spec, made, automations.with_event(UPDATED) if watch_every_s else automations)
        where = home.name if home else None
        if watch_every_s:
            every = [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=timedelta(seconds=watch_every_s)))]
            variables = _of_flow(home, spec, workspace)
            looks = _deploy(client, watch, spec.name, home, variables, parameters=parameters, schedules=every)
            yield Deployed(f"watch/{spec.name}", where, looks)
        else:
            _remove(client, f"watch/{spec.name}")
        yield Deployed(f"retrain/{spec.name}", where, made)


def deploy_monitor(
    spec: Spec, source: Source, *, workspace: str, pool: str, schedules: Sequence[DeploymentScheduleCreate]
) -> Deployed:
    """Make or renew the deployment that monitors new rows for the spec's model, on a pool that is made if need be."""
    workspace, path = str(place(workspace)), resolve_path(source.path, folder=Path())
    source = source.model_copy(update={"path": path})
    with get_client(sync_client=True) as client:
        home = _home(client, pool)
        reading = spec.model_copy(update={"data": spec.data.model_copy(update={"path": path})})  # mounted by its path
        variables = _of_flow(home, reading, workspace)
        parameters = {
            "name": spec.name,
            "source": source.model_dump(mode="json"),
            "workspace": workspace,
            "drift": spec.drift.model_dump(mode="json"),
            "metrics": [metric.model_dump(mode="json") for metric in spec.evaluation.wanted],
        }
        made = _deploy(client, monitor, spec.name, home, variables, parameters=parameters, schedules=schedules)
    return Deployed(f"monitor/{spec.name}", home.name, made)


def _pool(client: SyncPrefectClient, name: str) -> Pool:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound as error:
        raise ResourceError(
            f"there is no work pool {name!r}; make it, such as: prefect work-pool create {name} --type docker"
        ) from error


def _remove(client: SyncPrefectClient, name: str) -> None:
    with contextlib.suppress(ObjectNotFound):
        client.delete_deployment(client.read_deployment_by_name(name).id)


def _home(client: SyncPrefectClient, name: str) -> Pool:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _deploy(
    client: SyncPrefectClient,
    flow: Flow[..., Any],
    name: str,
    pool: Pool | None,
    variables: dict[str, Any],
    *,
    queue: str | None = None,
    parameters: dict[str, Any] | None = None,
    schedules: Sequence[DeploymentScheduleCreate] = (),
) -> UUID:
    if pool is None:
        _leave_pool(client, f"{flow.name}/{name}")
    return client.create_deployment(
        client.create_flow_from_name(flow.name),
        name,
        entrypoint=f"{flow.fn.__module__}.{flow.fn.__name__}",
        work_pool_name=pool.name if pool else None,
        work_queue_name=queue,
        job_variables=variables,
        parameters=parameters or {},
        parameter_openapi_schema=_borne(form(flow.fn, parameters or {})),
        schedules=list(schedules),
        paused=False,  # as a process that served it and ended has left it
        pull_steps=[{"flows.home.enter": {}}],
        description=flow.description,
        tags=["evermodel"],
    )


def _leave_pool(client: SyncPrefectClient, full_name: str) -> None:
    """Remove a deployment that a work pool runs: the server does not take it out of the pool."""
    try:
        standing = client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        return
    if standing.work_pool_name:
        client.delete_deployment(standing.id)


def _borne(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of parameters by which the server lets a deployment be paused and changed.

    On every change it drops each key `required` before it checks the parameters: a column's own field of that name,
    too, which it then refuses as unknown. So it is told to bear unknown keys there; the flow itself refuses them.
    """
    definitions = {
        name: {key: value for key, value in each.items() if key != "additionalProperties"}
        if "required" in each.get("properties", {})
        else each
        for name, each in schema.get("definitions", {}).items()
    }
    return {**schema, "definitions": definitions}


def _limit_gpu(client: SyncPrefectClient) -> None:
    """Let one task at a time use a GPU, unless an operator has set another limit."""
    try:
        client.read_concurrency_limit_by_tag(GPU)
    except ObjectNotFound:
        client.create_concurrency_limit(GPU, 1)


def job_variables(
    stage: StageName | None, runner: WorkPool, spec: Spec, *, workspace: str, kind: str
) -> dict[str, Any]:
    """Return the job variables of a deployment on a pool of this type, with the further ones of the spec.

    Of a type that is not known here, the image alone is said. Raises SpecError for what a pool of the type cannot do.
    """
    environment = {
        name: os.environ[name] for name in _PASSED_ON if os.environ.get(name) and "@" not in os.environ[name]
    }
    image = runner.image or images.name("pool-gpu" if runner.gpu else "pool")
    shared = [workspace] if "://" not in workspace else []
    source = local_source(spec.data) if stage in (None, "ingest") else None
    binds = [*(f"{path}:{path}" for path in shared), *([f"{source}:{source}:ro"] if source else [])]
    variables = _VARIABLES.get(kind, _any)(runner, image, binds)
    return _with_further({"env": environment, **variables}, runner.job_variables)


def _of_flow(pool: Pool | None, spec: Spec, workspace: str, *, gpu: int | None = None) -> dict[str, Any]:
    """Return the job variables of a flow itself; none where a process serves it."""
    if pool is None:
        return {}
    runner = WorkPool(pool=pool.name, gpu=None if pool.type == "process" else gpu)
    return job_variables(None, runner, spec, workspace=workspace, kind=pool.type)


def _with_further(known: dict[str, Any], further: dict[str, Any]) -> dict[str, Any]:
    """Return job variables with further ones: mappings and lists are added to, other values replaced."""
    joined = dict(known)
    for key, value in further.items():
        before = joined.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            joined[key] = {**before, **value}
        else:
            joined[key] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
    return joined


def _any(_runner: WorkPool, image: str, _binds: list[str]) -> dict[str, Any]:
    return {"image": image}


def _process(runner: WorkPool, _image: str, _binds: list[str]) -> dict[str, Any]:
    for key in ("image", "memory", "cpus", "gpu"):
        if getattr(runner, key) is not None:
            raise SpecError(f"work pool {runner.pool!r} is of type process, which knows no {key}: take it out")
    return {"env": {}}  # the worker's own holds


def _docker(runner: WorkPool, image: str, binds: list[str]) -> dict[str, Any]:
    create: dict[str, Any] = {
        "init": True,
        "user": f"{os.getuid()}:{os.getgid()}",
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
    }
    if runner.cpus:
        create["nano_cpus"] = int(runner.cpus * 1e9)
    if runner.gpu:
        create["device_requests"] = [dict(each) for each in device_requests(runner.gpu)]
    limits = {"mem_limit": runner.memory, "memswap_limit": runner.memory} if runner.memory else {}
    return {
        "image": image,
        "image_pull_policy": "IfNotPresent",
        "auto_remove": True,
        "volumes": binds,
        "container_create_kwargs": create,
        **limits,
    }


def _kubernetes(runner: WorkPool, image: str, _binds: list[str]) -> dict[str, Any]:
    """Return job variables as the base job template in docker/kubernetes.json names them."""
    limits: dict[str, Any] = {}
    if runner.memory:
        limits["memory_limit"] = f"{runner.memory[:-1]}{runner.memory[-1].capitalize()}i"
    if runner.cpus:
        limits["cpu_limit"] = f"{int(runner.cpus * 1000)}m"
    if runner.gpu:
        limits["gpus"] = str(_count(runner.gpu))
    return {"image": image, "image_pull_policy": "IfNotPresent", **limits}


def _count(gpu: Gpu) -> int:
    if not isinstance(gpu, int):
        raise SpecError(f"a work pool of type kubernetes wants gpu as a number, got {gpu!r}")
    return gpu


_VARIABLES: dict[str, Callable[[WorkPool, str, list[str]], dict[str, Any]]] = {
    "process": _process,
    "docker": _docker,
    "kubernetes": _kubernetes,
}
