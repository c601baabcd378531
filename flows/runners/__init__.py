"""Where a stage runs: one module a kind of runner (`schemas/runners.py`), each with a function `run`."""

import importlib

from flows import artifacts
from schemas.runners import Docker, Inline, StageName, WorkPool
from schemas.stages import Request


def run(stage: StageName, request: Request, runner: Inline | Docker | WorkPool, *, model: str) -> None:
    """Run a stage of a model where its runner says; its log goes to this process.

    What it publishes is its result. Raises the stage's own EvermodelError, wherever it was raised, and ResourceError
    for what went wrong around it; StoppedError when the run was cancelled.
    """
    module = importlib.import_module(f"flows.runners.{runner.kind}")
    with artifacts.progress(model):
        module.run(stage, request, runner, model=model)
