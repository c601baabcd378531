"""docs/requirements.md: every part of a spec that it shows trains, and every test that it names is there."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from schemas.contract import Contract
from schemas.spec import Source, Spec
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, TrainRequest
from tasks import encode, evaluate, ingest, train

PAGE = Path(__file__).parents[1] / "docs" / "requirements.md"
ROWS = re.findall(r"^### (R\d+) (.*?)(?=^### |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PARTS = [
    (f"{row}-{index}", part)
    for row, text in ROWS
    for index, part in enumerate(re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL), start=1)
]
TARGETS = {
    "regression": {"column": "price"},
    "multioutput_regression": {"columns": ["price", "share"]},
    "binary": {"column": "sold"},
    "multilabel": {"columns": ["old", "big"]},
    "multiclass": {"column": "kind"},
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A folder with rows for every problem, in which the stages publish."""
    folder = tmp_path_factory.mktemp("requirements")
    random = np.random.default_rng(0)
    size, age = random.normal(size=90), random.normal(size=90)
    pd.DataFrame(
        {
            "size": size,
            "age": age,
            "image": list(random.normal(size=(90, 64))),
            "sequence": list(random.normal(size=(90, 10))),
            "price": np.exp(size / 2),
            "share": 1 / (1 + np.exp(-age)),
            "sold": np.where(size + age > 0, "yes", "no"),
            "old": (age > 0).astype(int),
            "big": (size > 0).astype(int),
            "kind": np.select([size > 0.4, size < -0.4], ["large", "small"], "middle"),
            **_columns_of_every_kind(random, size, age),
        }
    ).to_parquet(folder / "rows.parquet")
    return folder


def _columns_of_every_kind(random: np.random.Generator, size: np.ndarray, age: np.ndarray) -> dict[str, Any]:
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 700, 90), unit="D")
    words = {
        "gender": ["female", "male"],
        "shirt": ["small", "medium", "large"],
        "country": ["India", "Japan", "US"],
        "tags": ["new|red", "red", "used"],
        "city": ["Accra", "Berne", "Cairo"],
        "shop": ["a", "b", "c"],
        "visitor": ["v1", "v2", "v3", "v4"],
        "postcode": ["1000", "2000", "3000"],
        "complaint": ["late again", "broken", "late and broken"],
    }
    numbers = {"income": np.exp(size), "score": size, "load": age, "flag": (age > 0).astype(float)}
    targets = {
        "outcome": np.where(size > 0.5, "malignant", "benign"),
        "service": (age > 0.2).astype(int),
        "food": (size > -0.2).astype(int),
        "height": size + age,
        "width": size - age,
        "trust": random.random(90),
    }
    return {
        **{name: random.choice(values, 90) for name, values in words.items()},
        **numbers,
        **targets,
        "ordered": days,
        "opened": days + pd.to_timedelta(random.integers(0, 86_400, 90), unit="s"),
    }


def whole(part: dict[str, Any], folder: Path) -> Spec:
    """The spec of which a page shows a part, quick to train."""
    problem = part.get("problem", "binary")
    columns = {name: {"kind": "numeric"} for name in ("size", "age")}
    base = {"name": "part", "problem": problem, "data": {"path": str(folder / "rows.parquet")}}
    base |= {"target": TARGETS[problem], "columns": columns, "network": {"hidden": [4]}}
    part = {**part, "data": {**base["data"], **part.get("data", {})}}
    training = {**part.get("training", {}), "epochs": min(2, part.get("training", {}).get("epochs", 2))}
    return Spec.model_validate(base | part | {"training": training})


@pytest.mark.parametrize(("row", "text"), PARTS, ids=[row for row, _ in PARTS])
def test_part_of_a_spec_that_is_shown_trains_and_is_evaluated(workspace, monkeypatch, row, text):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    spec = whole(yaml.safe_load(text), workspace)
    asked = {"workspace": str(workspace)}
    contract = Contract.of(spec)
    ingested = ingest.run(
        IngestRequest(**asked, source=Source(path=spec.data.path), contract=contract, split=spec.split)
    )
    encoded = encode.run(EncodeRequest(**asked, ingest=ingested.as_input))
    inputs = {**asked, "ingest": ingested.as_input}
    trained = train.run(TrainRequest(**inputs, encode=encoded.as_input, network=spec.network, training=spec.training))
    request = EvaluateRequest(**inputs, name=spec.name, train=trained.as_input, evaluation=spec.evaluation)
    verdict = evaluate.run(request).verdict
    assert np.isfinite(verdict.challenger)


@pytest.mark.parametrize(("row", "text"), ROWS, ids=[row for row, _ in ROWS])
def test_tests_that_hold_a_row_are_there(row, text):
    named = re.findall(r"\[test_\w+\.py\]\((.*?)\)", text)
    assert named
    assert all((PAGE.parent / each).is_file() for each in named)
