"""docs/requirements.md: every snippet is part of a valid spec, every test named is there and names its row."""

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from schemas.contract import Contract
from schemas.data import Source
from schemas.spec import Spec
from schemas.stages import EncodeRequest, EvaluateRequest, IngestRequest, TrainRequest
from schemas.yaml_text import parse
from tasks import encode, evaluate, ingest, train

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "requirements.md").read_text()
SECTIONS = dict(re.findall(r"^### (R\d+): .*?\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE))
SNIPPETS = [
    (row, snippet) for row, text in SECTIONS.items() for snippet in re.findall(r"```yaml\n(.*?)```", text, re.S)
]
TESTS = [(row, name) for row, text in SECTIONS.items() for name in re.findall(r"`(tests/\S+::\w+)`", text)]
WHOLE = {
    "name": "model",
    "problem": "regression",
    "data": {"path": "rows.csv"},
    "target": {"column": "target"},
    "columns": {"some": {"kind": "numeric"}},
}


@pytest.mark.parametrize(("row", "snippet"), SNIPPETS)
def test_snippet_is_part_of_a_valid_spec(row, snippet):
    part, _ = parse(snippet, str)
    Spec.model_validate(merged(WHOLE, part))


def merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    data = {"data": whole["data"] | part["data"]} if "data" in part else {}
    return whole | part | data


def test_each_row_has_one_section():
    assert re.findall(r"^### (R\d+): ", PAGE, re.MULTILINE) == [*SECTIONS]


@pytest.mark.parametrize("row", SECTIONS)
def test_row_has_a_snippet_and_a_test(row):
    assert row in dict(SNIPPETS)
    assert row in dict(TESTS)


@pytest.mark.parametrize(("row", "name"), TESTS)
def test_named_test_exists_and_says_its_row(row, name):
    path, _, function = name.partition("::")
    module = ast.parse((ROOT / path).read_text())
    functions = {node.name: node for node in module.body if isinstance(node, ast.FunctionDef)}
    docstring = ast.get_docstring(functions[function])
    assert row in re.findall(r"R\d+", expanded(f"{docstring} {ast.get_docstring(module)}"))


def expanded(text: str) -> str:
    """Ranges such as R30-R32 written out."""
    return re.sub(r"R(\d+)-R(\d+)", lambda m: " ".join(f"R{row}" for row in range(int(m[1]), int(m[2]) + 1)), text)


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
            "traits": [["even", "odd"][: at % 3] for at in range(90)],
            "kind": np.select([size > 0.4, size < -0.4], ["large", "small"], "middle"),
            "large": (size > 0.4).astype(int),
            "middle": (abs(size) <= 0.4).astype(int),
            "small": (size < -0.4).astype(int),
        }
    ).to_parquet(folder / "rows.parquet")
    return folder


def quick(part: dict[str, Any], folder: Path) -> Spec:
    """The spec of which a snippet is a part, for two epochs on the rows in a folder."""
    columns = {name: {"kind": "numeric"} for name in ("size", "age")}
    base = {"name": "part", "problem": "binary", "data": {"path": str(folder / "rows.parquet")}}
    base |= {"target": {"column": "sold"}, "columns": columns, "network": {"hidden": [4]}}
    training = {**part.get("training", {}), "epochs": min(2, part.get("training", {}).get("epochs", 2))}
    return Spec.model_validate(base | part | {"training": training})


TRAINED = [row for row in SECTIONS if int(row[1:]) < 23 or row in {"R35", "R36"}]


@pytest.mark.parametrize(("row", "snippet"), [each for each in SNIPPETS if each[0] in TRAINED])
def test_snippet_trains_and_is_evaluated(workspace, monkeypatch, row, snippet):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "examples")
    part, _ = parse(snippet, str)
    spec = quick(part, workspace)
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
