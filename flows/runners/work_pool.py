"""A stage on a Prefect work pool, as a run of the deployment that `evermodel deploy` made."""

import contextlib
import logging
import re
import time
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound, PrefectException
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelling

from flows.runners.watch import watched
from schemas import errors
from schemas.errors import EvermodelError, ResourceError
from schemas.runners import StageName, WorkPool
from schemas.stages import Request
from tasks.workspaces import place

log = logging.getLogger("evermodel.flow")

_SECONDS_BETWEEN_LOOKS = 1.0
_SECONDS_BEFORE_A_WORD = 30.0


def deployment(model: str, stage: StageName) -> str:
    """Return the name of the deployment of a model's stage, without its flow's."""
    return f"{model}-{stage}"


def run(stage: StageName, request: Request, runner: WorkPool, *, model: str) -> None:
    """Run a stage on its work pool and wait for it; a time-out, a cancelled or a stopped run cancels it there.

    Raises the error that the stage ended with; ResourceError when there is no deployment, or the run there was
    cancelled or crashed.
    """
    if not PREFECT_API_URL.value():
        raise ResourceError(f"{stage}: a work pool is on a Prefect server: set PREFECT_API_URL, or take another runner")
    with get_client(sync_client=True) as client:
        child = _started(stage, request, runner, model)
        try:
            with watched(stage, timeout_s=runner.timeout_s, stop=lambda: _cancel(child)):
                state = _ended(client, child, stage, runner)
        except BaseException:
            _cancel(child)
            raise
    if not state.is_completed():
        raise _error(stage, state)


def _started(stage: StageName, request: Request, runner: WorkPool, model: str) -> UUID:
    name = f"stage/{deployment(model, stage)}"
    request = request.model_copy(update={"workspace": str(place(request.workspace))})
    parameters = {"stage": stage, "request": request.model_dump(mode="json"), "model": model}
    try:
        child: Any = run_deployment(name, parameters=parameters, timeout=0, work_queue_name=runner.queue)
    except ObjectNotFound as error:
        raise ResourceError(f"there is no deployment {name}; `evermodel deploy SPEC` makes it") from error
    return UUID(str(child.id))


def _ended(client: SyncPrefectClient, child: UUID, stage: StageName, runner: WorkPool) -> State:
    """Return the final state of a run; a server that does not answer for a while is asked again."""
    started, said = time.monotonic(), False
    while True:
        with contextlib.suppress(httpx.HTTPError, PrefectException):
            state = client.read_flow_run(child).state
            if state is not None and state.is_final():
                return state
            waits = state is None or state.is_scheduled()
            if waits and not said and time.monotonic() - started > _SECONDS_BEFORE_A_WORD:
                said = True
                log.warning("%s: waits for a worker: prefect worker start --pool %s", stage, runner.pool)
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def _cancel(child: UUID) -> None:
    with contextlib.suppress(httpx.HTTPError, PrefectException), get_client(sync_client=True) as client:
        client.set_flow_run_state(child, Cancelling())


def _error(stage: StageName, state: State) -> EvermodelError:
    """Return the error that a run ended with: the stage's own, as Prefect tells it, where it is one."""
    said = str(state.message or state.name)
    found = re.search(r"(\w+Error): (.*)", said, re.DOTALL)
    kind = getattr(errors, found[1], None) if found else None
    if found and isinstance(kind, type) and issubclass(kind, EvermodelError):
        return kind(found[2])
    return ResourceError(f"{stage}: its run on the work pool ended as {state.name}: {said}")
