"""docs/requirements.md: every snippet is part of a valid spec, every test named is there and names its row."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from schemas.spec import Spec
from schemas.yaml_text import parse

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
