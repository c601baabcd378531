"""BAD_INPUTS 42 and 53: a run killed in any stage leaves only scratch, and the same command finishes the work."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.run import RunResult
from schemas.runners import EVERY_RUN
from tasks.registry import Registry

pytestmark = pytest.mark.slow

RUN = [sys.executable, "-m", "flows.cli", "run", "breast-cancer.yaml", "--json", "--set", "training.epochs=5"]


def published(result: RunResult) -> dict[str, bytes]:
    """All that the stages published, but for what carries times and paths."""
    files = {}
    for name in EVERY_RUN[:-1]:
        folder = Path(result.stages[name].path)
        for path in folder.rglob("*"):
            if path.is_file() and path.name not in ("result.json", "request.json"):
                files[f"{name}/{path.relative_to(folder)}"] = path.read_bytes()
    return files


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect_server: str) -> RunResult:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([sys.executable, "-m", "flows.cli", "example", "breast-cancer"], cwd=folder, check=True)
    done = subprocess.run(RUN, cwd=folder, env=environment(prefect_server), capture_output=True, check=True)
    return RunResult.model_validate_json(done.stdout)


def environment(server: str) -> dict[str, str]:
    return {**os.environ, "PREFECT_API_URL": server}


@pytest.mark.parametrize("stage", EVERY_RUN)
def test_a_killed_run_finishes_when_it_is_started_again(
    evermodel: Callable[..., subprocess.CompletedProcess[str]],
    undisturbed: RunResult,
    prefect_server: str,
    tmp_path: Path,
    stage: str,
) -> None:
    evermodel("example", "breast-cancer")
    workspace = tmp_path / ".evermodel"
    with subprocess.Popen(
        RUN, cwd=tmp_path, env=environment(prefect_server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not list(workspace.glob(f"{stage}/.scratch-*")):
            assert process.poll() is None, f"the run ended before {stage} was seen"
            time.sleep(0.001)
        process.kill()
    visible = [path.name for path in workspace.glob(f"{stage}/*") if not path.name.startswith(".scratch-")]
    assert all((workspace / stage / name / "result.json").is_file() for name in visible)

    result = RunResult.model_validate_json(evermodel(*RUN[3:]).stdout)
    assert published(result) == published(undisturbed)
    assert result.metrics == undisturbed.metrics
    assert not list(workspace.glob("*/.scratch-*"))
    versions = Registry(workspace=str(workspace)).versions("breast-cancer")
    assert [(each.version, each.aliases) for each in versions] == [("1", ("challenger", "champion"))]
