"""How a finished run shows in Prefect: its state says what came of it."""

from typing import cast

from prefect.states import Completed

from flows import events
from schemas.run import RunResult


def ended(result: RunResult, *, resumed: bool) -> RunResult:
    """Tell of the result and return it as the state that Prefect shows; who called the flow gets the result.

    A run that was resumed after an approval made its version before, and decides about it now.
    """
    if result.status != "skipped" and (resumed or not result.stages["register"].cached):
        events.tell(result.model)
    name, message = None, f"version {result.model.version} {result.model.reason}"
    if result.status == "skipped":
        name, message = "Skipped", result.model.reason
    elif result.nothing_new and not resumed:
        name, message = "NothingNew", "nothing new: spec and data are those of an earlier run"
    return cast(RunResult, Completed(name=name, message=message, data=result))
