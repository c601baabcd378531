"""R40, faults 49 and 51: the alias never moves twice, whoever races for it and whoever dies holding it."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from schemas.errors import ResourceError
from tasks.lease import Lease
from tasks.tags import CHAMPION, CHAMPIONS, LEASE

pytestmark = pytest.mark.slow

ROUNDS = 50

RACER = """
import sys
from tasks import decisions
from tasks.registry import Registry

registry = Registry(workspace=sys.argv[1], tracking_uri=sys.argv[2])
version = {each.version: each for each in registry.versions("race")}
print("ready", flush=True)
for line in sys.stdin:
    wanted, champion = line.split()
    try:
        decisions.replace(
            registry, version[wanted], champion=None if champion == "none" else champion, what="promoted", why="race"
        )
        print("moved", flush=True)
    except decisions.MovedError:
        print("beaten", flush=True)
"""

HOLDER = """
import sys, time
from mlflow import MlflowClient
from tasks.lease import Lease

with Lease(MlflowClient(sys.argv[1], sys.argv[1]), "held", seconds=2):
    print("held", flush=True)
    time.sleep(600)
"""


@contextlib.contextmanager
def started(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has said its first word; it is killed in the end if it lives."""
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert heard(process) in ("ready", "held")
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line)
    process.stdin.flush()


def test_two_machines_race_for_promotion_fifty_times_and_one_wins_each_time(mlflow_server: str, tmp_path: Path) -> None:
    """Two workspaces, two processes, one server; each round both want to replace the same champion."""
    client = MlflowClient(mlflow_server, mlflow_server)
    client.create_registered_model("race")
    for _ in range(4):
        client.create_model_version("race", "s3://nowhere/model")
    champion, line = "none", list[str]()
    with (
        started(RACER, str(tmp_path / "a"), mlflow_server) as a,
        started(RACER, str(tmp_path / "b"), mlflow_server) as b,
    ):
        for number in range(ROUNDS):
            versions = ["1", "2"] if number % 2 else ["3", "4"]
            for racer, version in zip((a, b), versions, strict=True):
                tell(racer, f"{version} {champion}\n")
            said = [heard(racer) for racer in (a, b)]
            assert sorted(said) == ["beaten", "moved"]
            champion = versions[said.index("moved")]
            line.append(champion)
            assert client.get_model_version_by_alias("race", CHAMPION).version == champion
    model = client.get_registered_model("race")
    assert model.tags[CHAMPIONS].split() == line
    assert not [name for name in model.tags if name.startswith(LEASE)]


def test_a_killed_holder_does_not_block_for_ever(mlflow_server: str) -> None:
    client = MlflowClient(mlflow_server, mlflow_server)
    client.create_registered_model("held")
    with started(HOLDER, mlflow_server) as holder:
        with pytest.raises(ResourceError, match=f"held by .*:{holder.pid}"), Lease(client, "held", wait_s=1):
            pass
        holder.kill()
    before = time.monotonic()
    with Lease(client, "held", seconds=2, wait_s=60) as lease:
        lease.confirm()
        assert time.monotonic() - before > 2
    assert not [name for name in client.get_registered_model("held").tags if name.startswith(LEASE)]


def test_a_holder_that_slept_through_its_lease_moves_nothing(mlflow_server: str) -> None:
    client = MlflowClient(mlflow_server, mlflow_server)
    client.create_registered_model("slept")
    with Lease(client, "slept", seconds=2) as slow:
        time.sleep(1.5)
        other = Lease(client, "slept", seconds=1, wait_s=60)
        with other, pytest.raises(ResourceError, match="another process may have moved the aliases"):
            slow.confirm()
