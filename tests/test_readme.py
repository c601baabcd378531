"""What the README shows works as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from schemas.spec import Spec

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_spec_it_shows_is_valid() -> None:
    (text,) = blocks("yaml")
    assert Spec.model_validate(yaml.safe_load(text)).name == "churn"


@pytest.mark.slow
def test_its_commands_and_its_python_run(tmp_path: Path) -> None:
    pd.DataFrame({"price": range(40), "returned": ["yes", "no"] * 20}).to_csv(tmp_path / "sales.csv", index=False)
    environment = {**os.environ, "HOME": str(tmp_path), "EVERMODEL_WORKSPACE": "", "PREFECT_API_URL": ""}
    environment = {name: value for name, value in environment.items() if value}
    lines = [shlex.split(line, comments=True) for block in blocks("sh") for line in block.splitlines()]
    commands = [line[1:] for line in lines if line and line[0] == ".venv/bin/evermodel"]
    assert {command[0] for command in commands} >= {"example", "check", "run", "predict", "models", "init"}
    for command in commands:
        subprocess.run([sys.executable, "-m", "flows.cli", *command], cwd=tmp_path, env=environment, check=True)
    (code,) = blocks("python")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert re.fullmatch(r"0\.9\d+ True", done.stdout.strip().splitlines()[-1])
