"""One stage as a flow of its own: what a work pool runs."""

from typing import Any

from prefect import flow

from flows import runners
from flows.logs import to_prefect
from schemas.runners import Inline, StageName
from schemas.stages import REQUESTS
from tasks import secret_files


@flow(name="stage", flow_run_name="{model} {stage}", log_prints=False)
def stage(stage: StageName, request: dict[str, Any], model: str) -> None:
    """Run a stage of a model in the process that the work pool gave it; the request is that of the stage's command.

    What the stage publishes in the workspace is its result. Raises the stage's own EvermodelError.
    """
    secret_files.load()
    with to_prefect():
        runners.run(stage, REQUESTS[stage].model_validate(request), Inline(), model=model)
