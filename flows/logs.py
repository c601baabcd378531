"""Who hears the log of Evermodel's stages."""

import contextlib
import logging
from collections.abc import Iterator


def to_prefect() -> contextlib.AbstractContextManager[None]:
    """Let the Prefect run hear the log of Evermodel while the body runs: each line goes to the task that it is of."""
    from prefect.logging.handlers import APILogHandler  # commands without a flow leave Prefect alone

    return heard_by(APILogHandler())


@contextlib.contextmanager
def heard_by(handler: logging.Handler) -> Iterator[None]:
    """Let a handler hear the log of Evermodel's stages while the body runs, and close it in the end."""
    logger = logging.getLogger("evermodel")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()
