"""Where a stage runs."""

import contextlib
import importlib
import logging
from collections.abc import Iterator

from prefect.logging.handlers import APILogHandler

from schemas.stages import Request, Result, StageName


def run_inline(stage: StageName, request: Request) -> Result:
    """Run a stage in this process; its log goes to the Prefect run, too."""
    module = importlib.import_module(f"tasks.{stage}")
    with _logged_to_prefect():
        result: Result = module.run(request)
    return result


@contextlib.contextmanager
def _logged_to_prefect() -> Iterator[None]:
    logger, handler = logging.getLogger("evermodel"), APILogHandler()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
