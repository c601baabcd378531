"""R37: a stage in the flow (a Python call), as a command and as a container: the same JSON request and result."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flows import images, retrain
from schemas.run import RunResult
from schemas.runners import EVERY_RUN
from schemas.spec_file import read_spec
from tasks.examples import write_example

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.slow]

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunResult]:
    """A folder in which the flow has run all stages once, and its result."""
    folder = tmp_path_factory.mktemp("flow")
    overrides = ("training.epochs=2", "network.hidden=[4]")
    spec = read_spec(write_example("breast-cancer", folder), overrides=overrides)
    return folder, retrain(spec, workspace=str(folder / "ws"))


def by_command(stage: str, request: Path) -> str:
    command = [sys.executable, "-m", f"tasks.{stage}", str(request)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout


def by_container(stage: str, request: Path, *, folder: Path) -> str:
    command = ["docker", "run", "--rm", "--network", "none", "-u", f"{os.getuid()}", "-e", "HOME=/tmp"]
    command += [part for each in (folder, request.parent) for part in ("-v", f"{each}:{each}")]
    return subprocess.run([*command, images.name(stage), request], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("stage", EVERY_RUN)
def test_a_stages_command_answers_the_flows_request_with_the_flows_result(
    flow: tuple[Path, RunResult], tmp_path: Path, stage: str
) -> None:
    asked, wanted = published(flow[1], stage, elsewhere=tmp_path)
    assert told(by_command(stage, asked)) == wanted


@pytest.mark.docker
@pytest.mark.parametrize("stage", EVERY_RUN)
def test_a_stages_image_answers_the_flows_request_with_the_flows_result(
    flow: tuple[Path, RunResult], engine: Any, tmp_path: Path, stage: str
) -> None:
    asked, wanted = published(flow[1], stage, elsewhere=tmp_path)
    assert told(by_container(stage, asked, folder=flow[0])) == wanted


def published(result: RunResult, stage: str, *, elsewhere: Path) -> tuple[Path, dict[str, Any]]:
    """The request that a stage got in the flow, for a workspace elsewhere, as a file; and what came of it there."""
    folder = Path(result.stages[stage].path)
    request = json.loads((folder / "request.json").read_text()) | {"workspace": str(elsewhere / "ws")}
    (elsewhere / "request.json").write_text(json.dumps(request))
    return elsewhere / "request.json", told((folder / "result.json").read_text())


def told(result: str) -> dict[str, Any]:
    """What a result says, but for where and how fast."""
    return {name: value for name, value in json.loads(result).items() if name not in {"path", "seconds"}}
