"""Watching a model's data: an event when it has changed and stands still."""

import logging
import time
from collections.abc import Sequence

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows import events
from flows.logs import to_prefect
from schemas.document import digest
from schemas.errors import EvermodelError, ResourceError
from schemas.spec import Spec
from tasks import arrivals, secret_files
from tasks.workspaces import place

log = logging.getLogger("evermodel.flow")

SETTLE_S = 10.0
"""Files that are the same after so many seconds are taken for finished."""


def look(spec: Spec, *, workspace: str, settle_s: float = SETTLE_S) -> str:
    """Emit `dataset.updated` if the model's data is not what was last told of, and say in one sentence what was seen.

    Data that still grows is left for the next look. What was told of is kept in the workspace, after the server took
    the event: it comes once more rather than never. Raises ResourceError when the server does not take it, and
    DataError for what is no data file.
    """
    found = arrivals.listing(spec.data)
    if not found:
        return "there is no file yet"
    home = place(workspace)
    if arrivals.announced(home, spec.name) == digest(found):
        return "nothing new"
    time.sleep(settle_s)
    if arrivals.listing(spec.data) != found:
        return "files are still being written"
    payload = {"model": spec.name, "files": len(found)}
    if not events.emit(events.UPDATED, events.dataset(spec), payload):
        raise ResourceError(f"no Prefect server takes the event {events.UPDATED}; it is tried again at the next look")
    arrivals.announce(home, spec.name, found)
    return f"{events.UPDATED}: {len(found)} files"


@flow(name="watch", flow_run_name="watch {spec.name}")
def watch(spec: Spec, workspace: str, settle_s: float = SETTLE_S) -> State[None]:
    """Look once at a model's data; the run's state says what was seen."""
    secret_files.load()
    with to_prefect():
        return Completed(message=look(spec, workspace=workspace, settle_s=settle_s))


def keep_looking(specs: Sequence[Spec], *, workspace: str, interval_s: float, settle_s: float = SETTLE_S) -> None:
    """Look at the data of several models again and again, until the process is ended."""
    said: dict[str, str] = {}
    while True:
        started = time.monotonic()
        for spec in specs:
            try:
                seen = look(spec, workspace=workspace, settle_s=settle_s)
            except EvermodelError as error:
                seen = str(error)
            if seen != said.get(spec.name):
                log.info("%s: %s", spec.name, seen)
            said[spec.name] = seen
        time.sleep(max(0.0, interval_s - (time.monotonic() - started)))
