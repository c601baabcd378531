"""One process at a time moves a model's aliases, on whatever machines they run: a lease kept in the model's own tags.

An MLflow server can set and read a tag, and nothing more: the last writer wins. That is enough for Lamport's bakery
algorithm (A New Solution of Dijkstra's Concurrent Programming Problem, 1974), in which each process writes nothing but
an entry of its own: it draws a number above all that it sees, and waits for those with lower ones. An entry that stays
as it is for `seconds`, by the clock of the one who waits, belongs to a process that died, and is removed.

What it rests on: reads see earlier writes (one database, no replica behind), and no process is held up for half a lease
in the middle of a single call to the server and goes on then. `confirm` finds out about the latter and raises.
"""

import contextlib
import json
import logging
import os
import random
import socket
import time
import uuid
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from schemas.errors import ResourceError
from tasks.tags import LEASE

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger("evermodel.register")

_POLL_S = 0.1


class _Entry(NamedTuple):
    """A place in the queue; the number is 0 while it is being drawn."""

    number: int
    key: str
    text: str
    owner: str


class Lease:
    """Holds the aliases of a model while the body runs."""

    def __init__(self, client: "MlflowClient", name: str, *, seconds: float = 60.0, wait_s: float = 600.0) -> None:
        """Name the model, which must be there; `wait_s` is how long others are waited for."""
        self._client, self._name, self._seconds, self._wait_s = client, name, seconds, wait_s
        self._owner = f"{socket.gethostname()}:{os.getpid()}"
        self._key, self._number, self._beat, self._renewed = "", 0, 0, 0.0
        self._seen: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        """Queue until it is our turn; raises ResourceError when that takes too long."""
        try:
            self._queue()
        except BaseException:
            self._leave()
            raise
        return self

    def _queue(self) -> None:
        deadline = time.monotonic() + self._wait_s
        self._draw()
        while ahead := self._ahead():
            if time.monotonic() > deadline:
                raise ResourceError(
                    f"the aliases of model {self._name!r} are held by {ahead[0].owner}; run again later"
                )
            self._remove_dead(ahead)
            time.sleep(_POLL_S * random.uniform(0.5, 1.5))  # noqa: S311 - spreads calls, hides nothing

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the next one in."""
        self._leave()

    def confirm(self) -> None:
        """Make sure that it is still our turn, for half a lease from now; raises ResourceError when it is not."""
        if not self._is_fresh() or self._key not in self._entries():
            raise ResourceError(
                f"the registry took so long that another process may have moved the aliases of model {self._name!r}; "
                f"look at evermodel models {self._name} and run again"
            )
        self._write()

    def _draw(self) -> None:
        self._key, self._number = f"{LEASE}{uuid.uuid4().hex}", 0
        self._write()
        self._number = 1 + max(entry.number for entry in self._entries().values())
        self._write()

    def _ahead(self) -> list[_Entry]:
        """Return those whose turn comes before ours, or may."""
        entries = self._entries()
        if self._key not in entries or not self._is_fresh():  # taken for dead, or about to be
            self._leave()
            self._draw()
            entries = self._entries()
        elif time.monotonic() - self._renewed > self._seconds / 4:
            self._write()
        mine = (self._number, self._key)
        others = (entry for key, entry in entries.items() if key != self._key)
        return sorted(entry for entry in others if (entry.number, entry.key) < mine)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._renewed < self._seconds / 2

    def _remove_dead(self, ahead: list[_Entry]) -> None:
        now = time.monotonic()
        self._seen = {
            each.key: seen if (seen := self._seen.get(each.key)) and seen[0] == each.text else (each.text, now)
            for each in ahead
        }
        for key, (_, since) in self._seen.items():
            if now - since > self._seconds:
                log.warning("register: %s seems to have died while it moved aliases", key)
                self._delete(key)

    def _entries(self) -> dict[str, _Entry]:
        tags = self._client.get_registered_model(self._name).tags
        return {key: _read(key, text) for key, text in tags.items() if key.startswith(LEASE)}

    def _write(self) -> None:
        started = time.monotonic()
        self._beat += 1
        text = json.dumps({"number": self._number, "owner": self._owner, "beat": self._beat})
        self._client.set_registered_model_tag(self._name, self._key, text)
        self._renewed = started

    def _leave(self) -> None:
        self._delete(self._key)

    def _delete(self, key: str) -> None:
        from mlflow.exceptions import MlflowException

        with contextlib.suppress(MlflowException):  # gone already, or it will be taken for dead
            self._client.delete_registered_model_tag(self._name, key)


def _read(key: str, text: str) -> _Entry:
    try:
        told = json.loads(text)
        return _Entry(int(told["number"]), key, text, str(told["owner"]))
    except (ValueError, KeyError, TypeError):  # none of ours: removed when its time is over
        return _Entry(0, key, text, "an unknown process")
