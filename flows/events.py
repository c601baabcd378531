"""Events of Prefect that Evermodel emits, and what they are about."""

import logging
from typing import Any

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.events import Event
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

from schemas.run import ModelVersion
from schemas.spec import Spec

log = logging.getLogger("evermodel.flow")

PROMOTED = "evermodel.model.promoted"
"""A run made a version, and it became champion."""
REFUSED = "evermodel.model.refused"
"""A run made a version, and it did not become champion."""
DRIFTED = "evermodel.drift.detected"
"""Rows that are scored are no longer like those of training."""
UPDATED = "dataset.updated"
"""A model's data has changed and stands still."""

_TIMEOUT_S = 10.0


def model(name: str) -> str:
    """Return the resource id of a model."""
    return f"evermodel.model.{name}"


def dataset(spec: Spec) -> str:
    """Return the resource id of a model's data: its path as the spec has it, with ${NAME} left as it stands."""
    return f"evermodel.dataset.{spec.data.path}"


def emit(event: str, resource: str, payload: dict[str, Any]) -> bool:
    """Send an event and say whether a Prefect server took it; without one nothing is sent."""
    if not PREFECT_API_URL.value():
        return False
    made = Event(event=event, resource={"prefect.resource.id": resource}, payload=payload, related=_related())
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT_S}) as client:
            client.request("POST", "/events", json=[made.model_dump(mode="json")])
    except (httpx.HTTPError, PrefectException) as error:
        log.warning("the Prefect server does not take the event %s: %s", event, type(error).__name__)
        return False
    return True


def _related() -> list[dict[str, str]]:
    run = FlowRunContext.get()
    if run is None or run.flow_run is None:
        return []
    return [{"prefect.resource.id": f"prefect.flow-run.{run.flow_run.id}", "prefect.resource.role": "flow-run"}]


def tell(made: ModelVersion) -> None:
    """Tell what became of the version that a run made."""
    emit(PROMOTED if made.promoted else REFUSED, model(made.name), {"version": made.version, "reason": made.reason})
