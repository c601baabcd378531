"""What messages quote from data, and that an operator can have none of it, in logs and tracebacks too."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from schemas.errors import DataError
from schemas.stages import IngestRequest
from tasks import ingest
from tasks.quotes import HIDE_VALUES

SECRET = "hiv-positive"


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"data": {"maximum_rejected": 0.5}},
        {"split": {"by": "column", "column": "colour", "test": ["red"], "validation": ["green"], "train": ["yellow"]}},
        {"data": {"weight": "colour"}},
    ],
    ids=["refused", "set aside", "split", "weight"],
)
def test_values_are_quoted_unless_they_are_hidden(
    keys: dict[str, Any],
    hidden: bool,
    frame: pd.DataFrame,
    ingest_request: Callable[..., IngestRequest],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(HIDE_VALUES, "1" if hidden else "0")
    column = "x" if "split" not in keys and "weight" not in keys.get("data", {}) else "colour"
    rows = frame.astype({column: object})
    rows.loc[rows.index[:30], column] = SECRET
    request = ingest_request(rows, **keys)
    with caplog.at_level(logging.INFO, logger="evermodel"):
        try:
            said = " ".join(ingest.run(request).warnings)
        except DataError as error:
            said = "".join(traceback.format_exception(error))
    said += caplog.text
    assert column in said
    assert (SECRET in said) != hidden
    assert ("(value hidden)" in said) == hidden


def test_what_a_library_says_of_a_broken_file_is_hidden_too(
    ingest_request: Callable[..., IngestRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HIDE_VALUES, "1")
    request = ingest_request(f'{{"x": {SECRET}}}\n'.encode() * 3, name="rows.parquet")
    with pytest.raises(DataError, match="cannot be read as parquet: ArrowInvalid") as raised:
        ingest.run(request)
    assert raised.value.__cause__ is None
