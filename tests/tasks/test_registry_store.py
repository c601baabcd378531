"""A new store of MLflow's on SQLite."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, text

from tasks import registry_store
from tasks.registry import Registry

MAKE = "import sys; from tasks.registry import Registry; Registry(workspace=sys.argv[1]).client"
_FULL = 2


def test_processes_that_make_a_store_at_once_share_one(tmp_path: Path) -> None:
    """Whoever is first makes it, and what the others made is gone."""
    makers = [subprocess.Popen([sys.executable, "-c", MAKE, str(tmp_path)]) for _ in range(2)]
    assert [maker.wait(120) for maker in makers] == [0, 0]
    assert sorted(each.name for each in (tmp_path / "mlflow").iterdir()) == ["mlflow.db"]
    registry = Registry(workspace=str(tmp_path))
    registry.client.create_registered_model("penguins")
    assert registry.names() == ["penguins"]


def test_a_store_that_stands_is_left_alone_and_its_writes_reach_the_disk(tmp_path: Path) -> None:
    """Syncing is left out only while a store is made that nobody knows of yet."""
    database = tmp_path / "mlflow.db"
    registry_store.make(database, "artifacts")
    made = database.stat()
    registry_store.make(database, "artifacts")
    assert (database.stat().st_ino, database.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    with create_engine(f"sqlite:///{database}").connect() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar() == _FULL
