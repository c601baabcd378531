"""R39: which rows a run takes by their time; windows that count from the data and never from the clock."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from schemas.spec import Spec
from schemas.stages import IngestRequest
from tasks import ingest

Ingested = Callable[[IngestRequest], Any]
Requested = Callable[..., IngestRequest]


@pytest.fixture
def days() -> pd.DataFrame:
    """A row a day, for a hundred days from 2024-01-01 on, shuffled."""
    random = np.random.default_rng(0)
    x = random.normal(size=100).round(6)
    day = pd.date_range("2024-01-01", periods=100).strftime("%Y-%m-%d")
    return pd.DataFrame({"day": day, "x": x, "y": np.where(x > 0, "yes", "no")}).sample(frac=1, random_state=0)


def taken(frame: pd.DataFrame, rows: Any) -> list[str]:
    """Return the days of accepted rows, the first and the last, and how many there are."""
    found = sorted(frame["day"].iloc[rows.column("_row").to_pylist()])
    return [found[0], found[-1], str(len(found))]


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet", "rows.jsonl"])
@pytest.mark.parametrize(
    ("data", "window", "expected"),
    [
        ({"since": "2024-02-01"}, None, ["2024-02-01", "2024-04-09", "69"]),
        ({"until": "2024-02-01"}, None, ["2024-01-01", "2024-01-31", "31"]),
        ({"since": "2024-01-10", "until": "2024-03-01"}, None, ["2024-01-10", "2024-02-29", "51"]),
        ({}, {"days": 30}, ["2024-03-11", "2024-04-09", "30"]),
        ({"until": "2024-03-01"}, {"days": 30}, ["2024-01-31", "2024-02-29", "30"]),
        ({}, {"rows": 40}, ["2024-03-01", "2024-04-09", "40"]),
        ({"until": "2024-03-01"}, {"rows": 40}, ["2024-01-21", "2024-02-29", "40"]),
        ({"since": "2024-03-20"}, {"rows": 40}, ["2024-03-20", "2024-04-09", "21"]),
        ({}, {"rows": 1000}, ["2024-01-01", "2024-04-09", "100"]),
    ],
)
def test_the_period_takes_its_rows_and_counts_the_rest_apart(
    ingest_request: Requested,
    ingested: Ingested,
    days: pd.DataFrame,
    name: str,
    data: dict[str, Any],
    window: Any,
    expected: list[str],
) -> None:
    request = ingest_request(days, name=name, data={"time": "day", **data}, retraining={"window": window})
    result, rows, rejected = ingested(request)
    assert taken(days, rows) == expected
    assert (result.rows.outside, rejected) == (100 - rows.num_rows, [])
    assert bool(result.rows.outside) == any(
        "outside the period (day from" in said or "before" in said for said in result.warnings
    )


def test_a_split_by_time_needs_no_other_column_and_splits_the_period(
    ingest_request: Requested, ingested: Ingested, days: pd.DataFrame
) -> None:
    request = ingest_request(days, data={"until": "2024-03-01"}, split={"by": "time", "column": "day"})
    result, rows, _ = ingested(request)
    assert result.rows.accepted == 60
    test = rows.filter(np.array(rows.column("split")) == "test")
    assert taken(days, test) == ["2024-02-18", "2024-02-29", "12"]


def test_rows_outside_are_neither_checked_nor_keys(
    ingest_request: Requested, ingested: Ingested, days: pd.DataFrame
) -> None:
    days = days.assign(x=days["x"].astype(str), id=np.arange(100))
    days.loc[days["day"] < "2024-02-01", ["x", "id"]] = ["no number", 50]
    request = ingest_request(days, data={"time": "day", "since": "2024-02-01", "key": ["id"]})
    result, _, rejected = ingested(request)
    assert (result.rows.accepted, rejected) == (69, [])


def test_a_row_without_a_time_is_rejected_with_the_reason(
    ingest_request: Requested, ingested: Ingested, days: pd.DataFrame
) -> None:
    days.iloc[3, 0] = None
    days.iloc[5, 0] = "soon"
    data = {"time": "day", "since": "2023-01-01", "maximum_rejected": 0.1}
    _, rows, rejected = ingested(ingest_request(days, data=data))
    assert rows.num_rows == 98
    assert "day is missing, but decides the period" in rejected[0]
    assert "day is no ISO 8601 date or time" in rejected[1]


def test_times_with_a_zone_are_compared_as_moments(
    ingest_request: Requested, ingested: Ingested, days: pd.DataFrame
) -> None:
    zoned = days.assign(day=days["day"] + "T00:30:00+02:00")
    _, rows, _ = ingested(ingest_request(zoned, data={"time": "day", "since": "2024-02-01"}))
    assert taken(days, rows) == ["2024-02-02", "2024-04-09", "68"]


def test_an_empty_period_is_refused_with_the_times_that_there_are(
    ingest_request: Requested, refused: Callable[..., str], days: pd.DataFrame
) -> None:
    said = refused(ingest_request(days, data={"time": "day", "since": "2030-01-01"}))
    assert "no row lies in the period (day from 2030-01-01 00:00:00)" in said
    assert "the times found are 2024-01-01 00:00:00 to 2024-04-09 00:00:00" in said


def test_a_backfill_publishes_the_same_rows_however_many_came_later(
    ingest_request: Requested, days: pd.DataFrame
) -> None:
    asked = {"data": {"time": "day", "until": "2024-03-01"}, "retraining": {"window": {"days": 40}}}
    days = days.sort_values("day")
    then, now = (
        ingest.run(ingest_request(each, name=name, **asked)) for each, name in ((days[:70], "a.csv"), (days, "b.csv"))
    )
    assert then.rows.accepted == now.rows.accepted == 40
    rows = [name for name in then.files if name.startswith("rows/")]
    assert [then.files[name] for name in rows] == [now.files[name] for name in rows]


def test_without_a_period_the_run_key_is_what_it_was(ingest_request: Requested, days: pd.DataFrame) -> None:
    assert "period" not in ingest_request(days, data={"time": "day"}).identity()
    assert "period" in ingest_request(days, data={"time": "day", "since": "2024-02-01"}).identity()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"data": {"path": "a.csv", "since": "2024-01-01"}}, "data.since wants the column with the rows' time"),
        ({"retraining": {"window": {"days": 3}}}, "retraining.window wants the column with the rows' time"),
        (
            {"data": {"path": "a.csv", "time": "t", "since": "2024-02-01", "until": "2024-02-01"}},
            "data.since 2024-02-01 00:00 must be before data.until",
        ),
        ({"data": {"path": "a.csv", "time": "t", "since": 2024}}, "must be a date or a time such as 2024-06-01"),
        ({"data": {"path": "a.csv", "time": "t", "since": "2024"}}, "must be a date or a time such as 2024-06-01"),
        ({"data": {"path": "a.csv", "time": "y"}}, "data.time 'y' is the target or the weight"),
    ],
)
def test_a_period_that_cannot_be_meant_is_refused(keys: dict[str, Any], said: str) -> None:
    spec = {"name": "n", "problem": "binary", "data": {"path": "a.csv"}, "target": {"column": "y"}}
    with pytest.raises(ValidationError, match=said):
        Spec.model_validate({**spec, "columns": {"x": {"kind": "numeric"}}, **keys})
