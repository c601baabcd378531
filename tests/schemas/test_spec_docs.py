"""The reference and the editor's schema say what the reader accepts, and the page in docs/ is fresh."""

import re

import jsonschema
import pytest

from schemas import spec_docs
from schemas.columns import NumericColumn
from schemas.spec_docs import EXAMPLE, PAGE, main, spec_page
from schemas.spec_schema import editor_schema
from schemas.training import Training
from schemas.yaml_text import parse


@pytest.fixture
def example():
    return parse(EXAMPLE, str)[0]


def errors(document) -> list[str]:
    """What an editor marks in a spec."""
    return [error.message for error in jsonschema.Draft202012Validator(editor_schema()).iter_errors(document)]


def test_page_is_fresh():
    assert PAGE.read_text(encoding="utf-8") == spec_page(), "run `make docs`"


def test_check_ends_with_1_when_the_page_is_stale(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(spec_docs, "PAGE", tmp_path / "docs" / "spec.md")
    assert main(["--check"]) == 1
    assert "make docs" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0


def test_page_has_a_row_for_every_field():
    page = spec_page()
    for model in (NumericColumn, Training):
        for name in set(model.model_fields) - {"kind"}:
            assert f"| `{name}` | " in page


def test_every_link_of_the_page_leads_to_a_heading():
    page = spec_page()
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    headings = {spec_docs._anchor(title, before=titles[:at].count(title)) for at, title in enumerate(titles)}
    links = {*re.findall(r"\]\(#([^)]*)\)", page)}
    assert links <= headings
    assert {"kind-custom", "kind-custom-1"} <= links, "a column and a network"


def test_every_row_of_a_table_has_four_cells():
    rows = [line for line in spec_page().partition("## Names")[0].splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_editor_schema_is_a_schema_without_an_id():
    schema = editor_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["title"] == "Evermodel spec"
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema


def test_editor_schema_has_the_defaults(example):
    properties = editor_schema()["properties"]
    assert properties["training"]["default"]["epochs"] == Training().epochs
    assert properties["split"]["default"]["by"] == "hash"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "churn"),
        ("training", {"optimizer": "adam", "loss": "huber", "early_stopping": None}),
        ("network", {"regularizer": {"name": "l1_l2", "l2": 0.1}, "constraint": "max_norm"}),
        ("split", {"validation": 0.1}),
        ("split", {"by": "group", "column": "customer"}),
        ("columns", {"pixels": {"kind": "tensor", "shape": [8, 8]}}),
    ],
)
def test_editor_takes_what_the_reader_takes(example, key, value):
    assert errors(example | {key: value}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "My Model"),
        ("colour", "red"),
        ("training", {"epochs": 0}),
        ("network", {"regularizer": "l3"}),
        ("network", {"constraint": {"name": "max_nrm"}}),
        ("training", {"epoch": 5}),
        ("columns", {"age": {"minimum": 0}}),
        ("columns", {"age": {"kind": "number"}}),
        ("columns", {"pixels": {"kind": "tensor"}}),
        ("split", {"column": "day"}),
    ],
)
def test_editor_marks_what_the_reader_refuses(example, key, value):
    assert errors(example | {key: value}) != []
