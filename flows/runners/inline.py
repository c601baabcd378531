"""A stage in the process of the flow."""

import ctypes
import importlib
import threading

from flows.runners.watch import watched
from schemas.errors import StoppedError
from schemas.runners import Inline, StageName
from schemas.stages import Request

_SECONDS_UNTIL_HEARD = 2.0


def run(stage: StageName, request: Request, runner: Inline, *, model: str) -> None:  # noqa: ARG001
    """Run a stage here; a time-out or a cancelled run interrupts it at its next line of Python."""
    module = importlib.import_module(f"tasks.{stage}")
    thread, ended = threading.get_ident(), threading.Event()
    with watched(stage, timeout_s=runner.timeout_s, stop=lambda: _stop(thread, ended)):
        try:
            module.run(request)
        finally:
            ended.set()


def _stop(thread: int, ended: threading.Event) -> None:
    """Interrupt a thread until its stage has ended: Python drops what is raised in a weak reference's callback."""
    while not ended.is_set():
        interrupt(thread)
        ended.wait(_SECONDS_UNTIL_HEARD)


def interrupt(thread: int) -> None:
    """Raise StoppedError in a thread (https://docs.python.org/3/c-api/init.html#c.PyThreadState_SetAsyncExc)."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(StoppedError))
