"""Code of the user's own: loaded where the operator allows it, and part of the run key."""

import sys
from pathlib import Path

import pytest

from schemas.errors import SpecError
from tasks import ingest

MODEL = """
import pandera.pandas as pa
from pandera.typing import Series

class Rules(pa.DataFrameModel):
    x: Series[float]
    id: Series[str] = pa.Field(unique=True)

    class Config:
        strict = True
        drop_invalid_rows = True

    @pa.check("x")
    def is_below_two(cls, values):
        return values < 2

    @pa.dataframe_check
    def is_no_saint(cls, frame):
        return ~((frame["colour"] == "red") & (frame["y"] == "yes") & (frame["x"] > 1.5))

    colour: Series[str]
    y: Series[str]

nothing = 1
"""


@pytest.fixture
def rules(tmp_path, monkeypatch) -> Path:
    """A module on the Python path, with a pandera model of the user's own."""
    (tmp_path / "own_rules.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "own_rules.py"
    sys.modules.pop("own_rules", None)


OWN = {"columns": {"x": {"kind": "numeric"}, "colour": {"kind": "one_hot"}}}


def test_own_model_sets_rows_aside_beside_the_spec(ingest_request, ingested, frame, rules, monkeypatch):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "other, own_rules")
    data = {"key": ["id"], "model": "own_rules:Rules", "maximum_rejected": 0.5}
    result, rows, reasons = ingested(ingest_request(frame, data=data, **OWN))
    saint = (frame["colour"] == "red") & (frame["y"] == "yes") & (frame["x"] > 1.5)
    assert 0 < saint.sum() < result.rows.rejected
    assert result.rows.rejected == (saint | (frame["x"] >= 2)).sum()
    assert set(frame["x"]) - set(rows.column("x").to_pylist()) == set(frame["x"][saint | (frame["x"] >= 2)])
    assert set(reasons) == {"x is_below_two", "row is_no_saint"}


def test_own_model_makes_a_run_key_of_its_source(ingest_request, frame, rules, monkeypatch):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "own_rules")
    request = ingest_request(frame, data={"key": ["id"], "model": "own_rules:Rules"}, **OWN)
    before = ingest.run_key(request)
    rules.write_text(MODEL.replace("< 2", "< 3"))
    assert ingest.run_key(request) != before


def test_source_that_changed_is_what_runs_in_a_process_that_goes_on(ingest_request, frame, rules, monkeypatch):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", "own_rules")
    request = ingest_request(frame, data={"key": ["id"], "model": "own_rules:Rules", "maximum_rejected": 0.9}, **OWN)
    before = ingest.run(request).rows.rejected
    rules.write_text(MODEL.replace("< 2", "< 0.25"))
    assert ingest.run(request).rows.rejected > before


@pytest.mark.parametrize(
    ("allowed", "model", "said"),
    [
        ("", "own_rules:Rules", "module own_rules is not allowed; the operator sets EVERMODEL_ALLOW_MODULES=own_rules"),
        ("own", "own_rules:Rules", "module own_rules is not allowed"),
        ("own_rules", "own_rules:nothing", "own_rules:nothing is a int; a pandera DataFrameModel or"),
        ("own_rules", "own_rules:Missing", "own_rules:Missing cannot be loaded: AttributeError"),
        ("nowhere", "nowhere:Rules", "nowhere:Rules cannot be loaded: there is no module nowhere on the Python path"),
    ],
)
def test_own_model_is_loaded_only_from_where_the_operator_allows(
    ingest_request, frame, rules, monkeypatch, allowed, model, said
):
    monkeypatch.setenv("EVERMODEL_ALLOW_MODULES", allowed)
    with pytest.raises(SpecError, match=said):
        ingest.run(ingest_request(frame, data={"model": model}))
