import sqlite3
import subprocess
import sys

import pytest

from tasks.registry import Registry
from tasks.registry_memory import RegistryMemory
from tasks.tags import CHAMPION

ANSWER = [{"version": "1"}]


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table versions (version text)")
    connection.close()
    return path


def remembered(database):
    memory = RegistryMemory(database)
    memory.keep("flights", ANSWER, memory.state())
    return memory


def test_an_answer_is_believed_while_the_database_stands(database):
    assert remembered(database).recall("flights") == ANSWER
    assert RegistryMemory(database).recall("flights") == ANSWER
    assert RegistryMemory(database).recall("another") is None


@pytest.mark.parametrize("statement", ["insert into versions values ('2')", "create table aliases (alias text)"])
def test_any_transaction_makes_it_forget(database, statement):
    memory = remembered(database)
    with sqlite3.connect(database) as connection:
        connection.execute(statement)
    connection.close()
    assert memory.recall("flights") is None


def test_nothing_is_believed_while_a_transaction_is_under_way(database):
    memory = remembered(database)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("begin")
    connection.execute("insert into versions values ('2')")
    assert memory.recall("flights") is None
    connection.execute("rollback")
    connection.close()
    assert memory.recall("flights") == ANSWER


def test_nothing_is_kept_of_a_database_with_a_write_ahead_log(database):
    connection = sqlite3.connect(database)
    connection.execute("pragma journal_mode = wal")
    assert remembered(database).recall("flights") is None
    connection.close()


@pytest.mark.parametrize("content", ["", "[]", '{"state": 1}', '{"state": 1, "answers": 2}', "{"])
def test_a_broken_memory_is_no_memory(database, content):
    memory = remembered(database)
    (database.parent / "store.db.seen.json").write_text(content)
    assert memory.recall("flights") is None
    memory.keep("flights", ANSWER, memory.state())
    assert memory.recall("flights") == ANSWER


_ASK = """
import sys
from tasks.registry import Registry
print([(each.version, each.aliases) for each in Registry(workspace=sys.argv[1]).versions("flights")])
print("mlflow" in sys.modules)
"""


def test_an_unchanged_registry_is_read_without_mlflow_and_a_changed_one_with_it(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    registry = Registry(workspace=str(tmp_path))
    registry.client.create_registered_model("flights")
    for _ in range(2):
        registry.client.create_model_version("flights", tmp_path.as_uri())

    def seen_by_another_process():
        command = [sys.executable, "-W", "ignore", "-c", _ASK, str(tmp_path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:2]

    first = seen_by_another_process()
    assert first == ["[('2', ()), ('1', ())]", "True"]
    assert seen_by_another_process() == [first[0], "False"]
    registry.client.set_registered_model_alias("flights", CHAMPION, "1")
    changed = seen_by_another_process()
    assert changed == ["[('2', ()), ('1', ('champion',))]", "True"]
    assert seen_by_another_process() == [changed[0], "False"]
    assert registry.versions("flights")[1].aliases == (CHAMPION,)
