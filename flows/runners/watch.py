"""What ends a stage from outside: its time is over, or its flow run was cancelled."""

import contextlib
import contextvars
import functools
import threading
import time
from collections.abc import Callable, Iterator

import httpx
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import PrefectException
from prefect.settings import PREFECT_API_URL

from schemas.errors import ResourceError, StoppedError

_SECONDS_BETWEEN_LOOKS = 2.0


@contextlib.contextmanager
def watched(stage: str, *, timeout_s: float | None, stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop`, from another thread, when the body takes too long or the flow run around it is cancelled.

    Raises ResourceError after a time-out and StoppedError after a cancellation, whatever the body ended with.
    """
    watch = _Watch(timeout_s, stop)
    look = functools.partial(contextvars.copy_context().run, watch.look)  # with the settings of the flow's own thread
    thread = threading.Thread(target=look, name=f"watch-{stage}", daemon=True)
    thread.start()
    try:
        yield
    except BaseException as error:
        watch.end()
        if watch.why is None or isinstance(error, KeyboardInterrupt):
            raise
    finally:
        watch.end()
    if watch.why == "cancelled":
        raise StoppedError(f"{stage}: the run was cancelled; run it again to go on where it was")
    if watch.why == "timeout":
        raise ResourceError(f"{stage}: stopped after {timeout_s:g} s; give its runner a longer timeout_s")


class _Watch:
    def __init__(self, timeout_s: float | None, stop: Callable[[], None]) -> None:
        self._deadline = time.monotonic() + timeout_s if timeout_s else float("inf")
        self._stop, self._over, self._deciding = stop, threading.Event(), threading.Lock()
        self._context = FlowRunContext.get()
        self.why: str | None = None

    def look(self) -> None:
        """Wait for the end of the body, of its time, or of the run."""
        while not self._over.wait(max(0.0, min(_SECONDS_BETWEEN_LOOKS, self._deadline - time.monotonic()))):
            why = "timeout" if time.monotonic() >= self._deadline else "cancelled" if self._is_cancelled() else None
            with self._deciding:
                if why and not self._over.is_set():
                    self.why = why
                    self._stop()
                    return

    def end(self) -> None:
        """Let nothing be stopped from now on."""
        with self._deciding:
            self._over.set()

    def _is_cancelled(self) -> bool:
        """Ask the server, if there is one that a person could have cancelled the run at."""
        if self._context is None or self._context.flow_run is None or not PREFECT_API_URL.value():
            return False
        with contextlib.suppress(httpx.HTTPError, PrefectException):  # a server that is away says nothing
            with get_client(sync_client=True) as client:
                state = client.read_flow_run(self._context.flow_run.id).state
            return state is not None and (state.is_cancelling() or state.is_cancelled())
        return False
