"""Deployments: the retraining of a model, and each of its stages that runs on a work pool."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import WorkPool as Pool
from prefect.client.schemas.schedules import SCHEDULE_TYPES, CronSchedule, IntervalSchedule, RRuleSchedule
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.utilities.callables import parameter_schema

from flows import images
from flows.retrain import GPU, retrain
from flows.runners.docker import device_requests
from flows.runners.mounts import local_source
from flows.runners.work_pool import deployment
from flows.stage import stage as stage_flow
from schemas.errors import ResourceError, SpecError
from schemas.runners import Gpu, StageName, WorkPool
from schemas.spec import Spec

_PASSED_ON = ("EVERMODEL_ALLOW_MODULES", "MLFLOW_TRACKING_URI")


def deploy(
    spec: Spec, *, workspace: str, pool: str, schedules: list[SCHEDULE_TYPES] | None = None
) -> Iterator[tuple[str, str]]:
    """Make or renew a deployment of `retrain` for the spec, and one for each stage whose runner is a work pool.

    Yields each name with that of its work pool. A pool that the spec names must be there; `pool`, for the flow itself,
    is made, of type process, if it is not. Raises ResourceError without the pool, SpecError for what it cannot do.
    """
    workspace = workspace if "://" in workspace else str(Path(workspace).absolute())
    with get_client(sync_client=True) as client:
        for name in spec.stages:
            runner = spec.runner_of(name)
            if isinstance(runner, WorkPool):
                found = _pool(client, runner.pool)
                variables = job_variables(name, runner, spec, workspace=workspace, kind=found.type)
                _deploy(client, stage_flow, deployment(spec.name, name), found, variables, queue=runner.queue)
                yield f"stage/{deployment(spec.name, name)}", found.name
        if spec.training.device not in ("auto", "cpu"):
            _limit_gpu(client)
        home = _home(client, pool)
        variables = job_variables(None, WorkPool(pool=pool), spec, workspace=workspace, kind=home.type)
        parameters = {"spec": spec.model_dump(mode="json"), "workspace": workspace}
        _deploy(client, retrain, spec.name, home, variables, parameters=parameters, schedules=schedules)
        yield f"retrain/{spec.name}", home.name


def schedules(*, cron: list[str], interval_s: float | None, rrule: str | None, timezone: str) -> list[SCHEDULE_TYPES]:
    """Return Prefect's schedules; raises SpecError for one that it does not understand."""
    try:
        found: list[SCHEDULE_TYPES] = [CronSchedule(cron=each, timezone=timezone) for each in cron]
        found += [IntervalSchedule(interval=timedelta(seconds=interval_s))] if interval_s else []
        found += [RRuleSchedule(rrule=rrule, timezone=timezone)] if rrule else []
    except ValueError as error:
        raise SpecError(f"no schedule: {error}") from error
    return found


def _pool(client: SyncPrefectClient, name: str) -> Pool:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound as error:
        raise ResourceError(
            f"there is no work pool {name!r}; make it, such as: prefect work-pool create {name} --type docker"
        ) from error


def _home(client: SyncPrefectClient, name: str) -> Pool:
    try:
        return client.read_work_pool(name)
    except ObjectNotFound:
        return client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _deploy(
    client: SyncPrefectClient,
    flow: Flow[..., Any],
    name: str,
    pool: Pool,
    variables: dict[str, Any],
    *,
    queue: str | None = None,
    parameters: dict[str, Any] | None = None,
    schedules: list[SCHEDULE_TYPES] | None = None,
) -> None:
    client.create_deployment(
        client.create_flow_from_name(flow.name),
        name,
        entrypoint=f"{flow.fn.__module__}.{flow.fn.__name__}",
        work_pool_name=pool.name,
        work_queue_name=queue,
        job_variables=variables,
        parameters=parameters or {},
        parameter_openapi_schema=parameter_schema(flow.fn).model_dump_for_openapi(),
        schedules=[DeploymentScheduleCreate(schedule=each) for each in schedules or []],
        pull_steps=[{"flows.home.enter": {}}],
        description=flow.description,
        tags=["evermodel"],
    )


def _limit_gpu(client: SyncPrefectClient) -> None:
    """Let one task at a time use a GPU, unless an operator has set another limit."""
    try:
        client.read_concurrency_limit_by_tag(GPU)
    except ObjectNotFound:
        client.create_concurrency_limit(GPU, 1)


def job_variables(
    stage: StageName | None, runner: WorkPool, spec: Spec, *, workspace: str, kind: str
) -> dict[str, Any]:
    """Return the job variables of a deployment on a pool of this type: those of the spec come last.

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
    return {"env": environment, **variables, **runner.job_variables}


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
