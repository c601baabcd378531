"""One run of a model at a time: among the processes of a workspace, and among the machines of a Prefect server."""

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from flows.runners.watch import watched
from flows.server_lock import ServerLock
from schemas.document import digest
from schemas.spec import Spec
from tasks.file_lock import FileLock
from tasks.registry import Registry
from tasks.workspaces import place

log = logging.getLogger("evermodel.flow")

_SECONDS_BETWEEN_LOOKS = 1.0


@contextlib.contextmanager
def turn(spec: Spec, *, workspace: str, work: object, must_run: bool = False) -> Iterator[str | None]:
    """Hold the model's lock around the body, once it is free, or yield why this run has nothing to do.

    `work` is what the run was asked for: of several that wait for the same, one is enough. A run that must run, as it
    carries a person's answer, waits whatever the spec says. Raises StoppedError when it is cancelled while it waits.
    """
    running = _Lock(spec, workspace, "running")
    waiting = _Lock(spec, workspace, f"waiting-{digest(work)[:8]}")
    try:
        yield None if running.acquire() else _waited(spec, running, None if must_run else waiting)
    finally:
        running.release()


class _Lock:
    """A lock in the workspace and then, where there is a Prefect server, one on it; let go in the other order."""

    def __init__(self, spec: Spec, workspace: str, what: str) -> None:
        path = place(workspace).directory / f".{spec.name}.{what}.lock"
        run = FlowRunContext.get()
        self._file = FileLock(path)
        self._server = ServerLock(
            f"evermodel-{what}-{spec.name}-{digest(Registry(workspace=workspace).uri)[:8]}",
            door=f"{socket.gethostname()}:{path}",
            run_id=str(run.flow_run.id) if run and run.flow_run else None,
        )
        self.holder_lives = False
        """Whether it was found held by a run that is surely alive."""

    def acquire(self) -> bool:
        """Take the lock if it is free; say whether it was."""
        if not self._file.acquire():
            self.holder_lives = True
            return False
        if not PREFECT_API_URL.value() or self._server.acquire():
            return True
        self._file.release()
        self.holder_lives = self._server.holder_lives
        return False

    def claim(self, stopped: threading.Event) -> bool:
        """Take the lock, or return False once it is sure that a living run holds it, or when stopped."""
        while not self.acquire():
            if self.holder_lives or stopped.wait(_SECONDS_BETWEEN_LOOKS):
                return False
        return True

    def release(self) -> None:
        """Let the lock go, if it is held."""
        self._server.release()
        self._file.release()


def _waited(spec: Spec, running: _Lock, waiting: _Lock | None) -> str | None:
    """Wait for the lock of running as the spec wants, or in any case without one of waiting; return why not to run."""
    stopped = threading.Event()
    with watched("turn", timeout_s=None, stop=stopped.set), contextlib.ExitStack() as held:
        if waiting and spec.retraining.overlap == "skip":
            return None if running.claim(stopped) else f"skipped: another run of {spec.name} is going on"
        if waiting:
            held.callback(waiting.release)
            if not waiting.claim(stopped):
                return f"skipped: a run of {spec.name} that waits for another one's end will do the same"
        log.info("%s: another run is going on; this one waits for its end", spec.name)
        while not running.acquire() and not stopped.wait(_SECONDS_BETWEEN_LOOKS):
            pass
    return None
