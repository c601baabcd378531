"""R39, R40: a run as of a past date takes the rows before it, is kept, and replaces no champion that knows more."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from flows import retrain
from flows.cli import app
from schemas.run import RunResult
from schemas.spec_file import read_spec
from tasks import decisions, freshness
from tasks.registry import Registry

pytestmark = pytest.mark.usefixtures("prefect_server")

SPEC = {
    "name": "turning",
    "problem": "binary",
    "data": {"path": "rows.csv", "time": "day"},
    "target": {"column": "y"},
    "columns": {"x": {"kind": "numeric"}},
    "network": {"hidden": [8]},
    "training": {"epochs": 15, "batch_size": 16, "optimizer": {"name": "adam", "learning_rate": 0.02}},
    "evaluation": {"importance": 0, "slices": [], "worst": 0, "bootstrap": 0},
    "promotion": {"smoke": 0, "confidence": None, "leakage": None},
    "retraining": {"window": {"days": 50}},
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The spec of a model of the last fifty days, on a hundred days after half of which the world turns round."""
    random = np.random.default_rng(0)
    x, day = random.normal(size=2_000), np.arange(2_000) // 20
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D")
    answer = np.where((x > 0) == (day < 50), "yes", "no")
    pd.DataFrame({"day": days.strftime("%Y-%m-%d"), "x": x, "y": answer}).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "turning.yaml").write_text(yaml.safe_dump(SPEC))
    return tmp_path / "turning.yaml"


def test_a_backfill_is_registered_and_replaces_no_champion_that_is_as_of_a_later_day(path: Path) -> None:
    registry = Registry(workspace=str(path.parent / "ws"))

    def as_of(day: str) -> RunResult:
        command = ["run", str(path), "--as-of", day, "--json", "--workspace", str(path.parent / "ws")]
        return RunResult.model_validate_json(CliRunner().invoke(app, command).stdout)

    def champion() -> str:
        return registry.find("turning", "champion").version

    assert retrain(read_spec(path), workspace=str(path.parent / "ws")).model.promoted
    past = as_of("2024-02-10")
    assert past.rows.accepted == 40 * 20
    assert json.loads(Path(past.report).with_name("verdict.json").read_text())["better"]
    assert (past.model.version, past.model.promoted, champion()) == ("2", False, "1")
    assert "a version as of 2024-02-10 00:00 does not replace version 1, which is as of 20" in past.model.reason
    kept = registry.find("turning", "2")
    assert [each.what for each in decisions.of(kept)] == ["refused"]
    origin = freshness.of(kept).origin
    assert origin is not None
    assert origin.rows == 40 * 20
    assert as_of("2024-02-10").nothing_new

    registry.promote("turning", "2", reason="for an audit", by="Ada")
    assert decisions.of(registry.find("turning", "2"))[-1].overruled == past.model.reason
    later = as_of("2024-03-31")
    assert (later.rows.accepted, later.model.promoted, champion()) == (50 * 20, True, "3")
    assert not as_of("2024-02-20").model.promoted
    assert champion() == "3"
