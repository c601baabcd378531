"""How a finished run shows in Prefect: its state says what came of it."""

from typing import cast

from prefect.states import Completed

from flows import events
from schemas.run import RunResult


def ended(result: RunResult) -> RunResult:
    """Tell of the result and return it as the state that Prefect shows; who called the flow gets the result."""
    if result.status != "skipped" and (result.decided or not result.stages["register"].cached):
        events.tell(result.model)
    name, message = None, f"version {result.model.version} {result.model.reason}"
    if result.status == "skipped":
        name, message = "Skipped", result.model.reason
    elif result.nothing_new:
        name, message = "NothingNew", "nothing new: spec and data are those of an earlier run"
    return cast(RunResult, Completed(name=name, message=message, data=result))
