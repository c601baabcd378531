"""A new store of MLflow's on SQLite, which stands at its place all at once."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.scratch import scratch


def make(database: Path, artifacts: str) -> None:
    """Make an empty store unless something stands there; raises ResourceError where it cannot be written.

    MLflow makes its tables by dozens of migrations, and SQLite brings each to the disk before the next one: that took
    most of the time. Here all are brought there once, before the rename that makes them count.
    """
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if database.exists():
        return
    with scratch(database) as folder:
        fresh = folder / database.name
        with _without_syncing():
            store: Any = SqlAlchemyStore(f"sqlite:///{fresh}", artifacts)  # type: ignore[no-untyped-call]
            store.engine.dispose()
        with fresh.open("rb") as file:
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was faster
            database.hardlink_to(fresh)


@contextlib.contextmanager
def _without_syncing() -> Iterator[None]:
    """Let connections that begin meanwhile leave it to the system when it writes to the disk."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    event.listen(Engine, "connect", _leave_syncing)
    try:
        yield
    finally:
        event.remove(Engine, "connect", _leave_syncing)


def _leave_syncing(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF")
