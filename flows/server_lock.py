"""A lock among all machines that share a Prefect server.

It is a variable of the server: only one can be made of a name, and one is removed by its id, so that nobody removes the
lock of another. Its holder changes it every few seconds, which is its sign of life. Prefect's own global concurrency
limits keep their leases in the server's memory: after a restart of the server a slot of a killed run stays taken.
"""

import contextlib
import contextvars
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.objects import Variable
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectException

log = logging.getLogger("evermodel.flow")

_SECONDS_BETWEEN_BEATS = 5.0
_SECONDS_OF_SILENCE = 30.0


class ServerLock:
    """A lock by name; `door` names what only its holder on this machine holds, too: another one behind it is dead."""

    def __init__(self, name: str, *, door: str, run_id: str | None) -> None:
        self._name, self._door, self._run_id = name, door, run_id
        self._id: Any = None
        self._released = threading.Event()
        self._seen: tuple[Any, Any] | None = None
        self._silent_since = 0.0
        self.holder_lives = False
        """Whether its holder has given a sign of life since it was first asked for."""

    def acquire(self) -> bool:
        """Take the lock if it is free or its holder is dead; say whether it was taken.

        A server that does not answer holds nobody up: the run goes on without the lock.
        """
        try:
            with _client() as client:
                return self._create(client) or (self._bury(client) and self._create(client))
        except (httpx.HTTPError, PrefectException) as error:
            log.warning("the Prefect server keeps no lock, and the run goes on: %s", type(error).__name__)
            return True

    def release(self) -> None:
        """Let the lock go, if it is held."""
        self._released.set()
        if self._id is not None:
            with contextlib.suppress(httpx.HTTPError, PrefectException), _client() as client:
                _delete(client, self._id)
            self._id = None

    def _create(self, client: SyncPrefectClient) -> bool:
        try:
            made = client.create_variable(VariableCreate(name=self._name, value=self._value(0), tags=["evermodel"]))
        except ObjectAlreadyExists:
            return False
        self._id = made.id
        beat = threading.Thread(target=contextvars.copy_context().run, args=(self._beat,), name="lock", daemon=True)
        beat.start()
        return True

    def _value(self, beat: int) -> dict[str, Any]:
        return {"door": self._door, "flow_run": self._run_id, "beat": beat}

    def _beat(self) -> None:
        count, known = 0, self._id
        while not self._released.wait(_SECONDS_BETWEEN_BEATS):
            count += 1
            with contextlib.suppress(httpx.TransportError, PrefectException), _client() as client:
                try:
                    content = {"value": self._value(count)}
                    client.request("PATCH", "/variables/{id}", path_params={"id": known}, json=content)
                except httpx.HTTPStatusError as error:
                    if _is_missing(error) and not self._released.is_set():
                        log.warning("the lock %s was taken from this run, which goes on", self._name)
                        return

    def _bury(self, client: SyncPrefectClient) -> bool:
        """Remove the lock if its holder is dead."""
        found = client.read_variable_by_name(self._name)
        if found is None:
            return True
        if not self._is_dead(client, found):
            return False
        _delete(client, found.id)
        return True

    def _is_dead(self, client: SyncPrefectClient, found: Variable) -> bool:
        """Judge by what this process saw and by its own clock: the clocks of machines differ."""
        value = found.value if isinstance(found.value, dict) else {}
        if value.get("door") == self._door or _has_ended(client, value.get("flow_run")):
            return True
        now, beat = time.monotonic(), (found.id, value.get("beat"))
        if beat != self._seen:
            self.holder_lives = self._seen is not None
            self._seen, self._silent_since = beat, now
        return now - self._silent_since > _SECONDS_OF_SILENCE


def _has_ended(client: SyncPrefectClient, run_id: Any) -> bool:
    if not run_id:
        return False
    try:
        state = client.read_flow_run(run_id).state
    except ObjectNotFound:
        return True
    return state is not None and state.is_final()


def _delete(client: SyncPrefectClient, lock_id: Any) -> None:
    """Remove a lock, if it is there still."""
    try:
        client.request("DELETE", "/variables/{id}", path_params={"id": lock_id})
    except httpx.HTTPStatusError as error:
        if not _is_missing(error):
            raise


def _is_missing(error: httpx.HTTPStatusError) -> bool:
    return error.response.status_code == httpx.codes.NOT_FOUND


@contextlib.contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True, httpx_settings={"timeout": 10.0}) as client:
        yield client
