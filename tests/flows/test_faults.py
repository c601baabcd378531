"""R39: what a run leaves when something around it fails."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from flows.retrain import retrain
from schemas.errors import DataError
from schemas.spec import Spec
from tasks.registry import Registry

Evermodel = Callable[..., subprocess.CompletedProcess[str]]


def test_a_server_that_does_not_answer_is_told_in_one_message(evermodel: Evermodel) -> None:
    evermodel("example", "breast-cancer")
    done = evermodel("run", "breast-cancer.yaml", check=False, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert done.returncode == 4
    assert "no Prefect server answers at http://127.0.0.1:9/api; start one, or set PREFECT_API_URL" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_what_stages_published_stands_when_the_server_goes_away_during_a_run(
    mortal_server: tuple[str, Callable[[], None]], evermodel: Evermodel, tmp_path: Path
) -> None:
    address, kill = mortal_server
    evermodel("example", "digits")
    keys = ("training.epochs=60", "training.early_stopping=null", "promotion.smoke=0")
    run = ["run", "digits.yaml", *(word for key in keys for word in ("--set", key))]
    settings = {"PREFECT_API_URL": address, "PREFECT_CLIENT_MAX_RETRIES": "0"}  # by default it tries for minutes
    environment = {**os.environ, **settings, "HOME": str(tmp_path / "home")}
    with (tmp_path / "run.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *run], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
        while "epoch" not in (tmp_path / "run.log").read_text():
            assert process.poll() is None
            time.sleep(0.1)
        kill()
        code = process.wait(300)
    assert code == 4
    assert f"error: the Prefect server at {address} answers no more" in (tmp_path / "run.log").read_text()
    trained = [path.stat().st_mtime for path in tmp_path.glob(".evermodel/train/*/result.json")]
    assert len(trained) == 1
    evermodel(*run)
    assert [path.stat().st_mtime for path in tmp_path.glob(".evermodel/train/*/result.json")] == trained


def test_a_spec_that_no_longer_fits_its_data_fails_and_the_champion_stays(spec: Spec, tmp_path: Path) -> None:
    workspace = str(tmp_path / "ws")
    retrain(spec, workspace=workspace)
    pd.read_csv(spec.data.path).rename(columns={"mean radius": "radius"}).to_csv(spec.data.path, index=False)
    with pytest.raises(DataError, match="mean radius"):
        retrain(spec, workspace=workspace)
    assert [(each.version, each.aliases) for each in Registry(workspace=workspace).versions(spec.name)] == [
        ("1", ("challenger", "champion"))
    ]
