"""Where a stage runs: one module a kind of runner (`schemas/runners.py`), each with a function `run`."""

import importlib

from prefect.logging.handlers import APILogHandler

from flows import artifacts
from flows.logs import heard_by
from schemas.runners import Docker, Inline, StageName, WorkPool
from schemas.stages import Request


def run(stage: StageName, request: Request, runner: Inline | Docker | WorkPool, *, model: str) -> None:
    """Run a stage of a model where its runner says; its log goes to this process and to the Prefect run.

    What it publishes is its result. Raises the stage's own EvermodelError, wherever it was raised, and ResourceError
    for what went wrong around it; StoppedError when the run was cancelled.
    """
    module = importlib.import_module(f"flows.runners.{runner.kind}")
    with heard_by(APILogHandler()), artifacts.progress(model):
        module.run(stage, request, runner, model=model)
