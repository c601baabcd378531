"""What only the whole data set shows: it is looked at over all batches and files, not batch by batch."""

import functools
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.stages import EncodeRequest
from tasks import encode, ingest
from tasks.repeated_keys import FirstPass

TIME = {"columns": {"t": {"kind": "datetime"}, "x": {"kind": "numeric"}}}
KEY = {"data": {"key": ["id"]}}


def with_times(times, *, rows: int = 60) -> pd.DataFrame:
    """Rows with a time each; the last one goes on."""
    times = [*times, *[times[-1]] * (rows - len(times))]
    return pd.DataFrame({"t": times, "x": range(rows), "y": ["no", "yes"] * (rows // 2)})


def written(directory, **files: pd.DataFrame):
    """Write frames to CSV files; return the folder."""
    directory.mkdir(exist_ok=True)
    for name, frame in files.items():
        frame.to_csv(directory / f"{name}.csv", index=False)
    return directory


NAIVE, AWARE = "2024-01-31T10:00:00", "2024-01-31T10:00:00+02:00"


@pytest.mark.parametrize("here", [NAIVE, AWARE])
def test_31_times_with_and_without_a_zone_are_refused_in_one_batch(ingest_request, refused, here):
    message = refused(ingest_request(with_times([here, NAIVE, AWARE, NAIVE]), **TIME))
    assert re.search(r"rows.csv: column 't' mixes times with and without a zone.*\(row \d.*of rows 0 to 59\)", message)


@pytest.mark.parametrize(("first", "then"), [(NAIVE, AWARE), (AWARE, NAIVE)])
def test_31_times_with_and_without_a_zone_are_refused_over_files(tmp_path, ingest_request, refused, first, then):
    folder = written(tmp_path / "data", a=with_times([first]), b=with_times([None, None]), c=with_times([then]))
    message = refused(ingest_request(folder, **TIME))
    assert re.search("c.csv: column 't' mixes .*: with(out)? one from row 120 on, with(out)? one before", message)


def test_31_times_with_and_without_a_zone_are_refused_over_batches(ingest_request, refused):
    rows = with_times([NAIVE] * 70_000 + [AWARE], rows=70_100)
    assert "mixes times with and without a zone" in refused(ingest_request(rows, name="a.parquet", **TIME))


def test_31_zone_of_a_parquet_file_counts_and_so_does_that_of_the_split(tmp_path, ingest_request, refused):
    for name, zone in (("a", None), ("b", "Europe/Berlin")):
        times = pa.array(np.arange(60) * 10**9, pa.timestamp("us", tz=zone))
        pq.write_table(pa.table({"t": times, "x": range(60), "y": ["no", "yes"] * 30}), tmp_path / f"{name}.parquet")
    assert "b.parquet: column 't' mixes" in refused(ingest_request(tmp_path / "*.parquet", **TIME))
    split = {"by": "time", "column": "t"}
    assert "b.parquet: column 't' mixes" in refused(ingest_request(tmp_path / "*.parquet", split=split))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_31_aware_times_are_stored_in_utc(ingest_request, ingested, ending):
    times = with_times([AWARE, "2024-01-31 10:00Z", "2024-07-01T00:30:00-0330"])
    _, rows, _ = ingested(ingest_request(times, name=f"a.{ending}", **TIME))
    said = [time.isoformat() for time in rows.column("t").to_pylist()[:3]]
    assert said == ["2024-01-31T08:00:00+00:00", "2024-01-31T10:00:00+00:00", "2024-07-01T04:00:00+00:00"]


@pytest.mark.parametrize("fine", [[], ["2024-01-01T00:00:00.123456789"]])
def test_32_times_beyond_nanoseconds_are_kept_in_microseconds(ingest_request, ingested, fine):
    times = ["0001-01-01", "1500-06-30T12:00:00", "9999-12-31T23:59:59.999999", *fine]
    _, rows, _ = ingested(ingest_request(with_times([*times, "2024-01-01"]), **TIME))
    said = [time.replace(tzinfo=None).isoformat() for time in rows.column("t").to_pylist()[: len(times)]]
    assert said[:3] == ["0001-01-01T00:00:00", "1500-06-30T12:00:00", "9999-12-31T23:59:59.999999"]
    assert said[3:] == ["2024-01-01T00:00:00.123456"] * len(fine)


def test_32_times_that_microseconds_do_not_reach_are_refused(tmp_path, ingest_request, refused):
    times = pa.array([10**15] * 60, pa.timestamp("s"))
    pq.write_table(pa.table({"t": times, "x": range(60), "y": ["no", "yes"] * 30}), tmp_path / "a.parquet")
    assert "column 't' holds times outside the years" in refused(ingest_request(tmp_path / "a.parquet", **TIME))


def test_32_times_after_the_year_9999_are_set_aside(tmp_path, ingest_request, ingested):
    times = pa.array([*range(59), 4 * 10**17], pa.timestamp("us"))
    pq.write_table(pa.table({"t": times, "x": range(60), "y": ["no", "yes"] * 30}), tmp_path / "a.parquet")
    result, _, reasons = ingested(ingest_request(tmp_path / "a.parquet", data={"maximum_rejected": 0.1}, **TIME))
    assert reasons == ["t is outside the years 1 to 9999"]
    assert "(1: a.parquet row 59 '14645-" in result.warnings[-1]


def test_33_second_row_of_a_key_is_set_aside_over_files(tmp_path, ingest_request, ingested, frame):
    again = frame.iloc[:1].assign(x=100.0)
    folder = written(tmp_path / "data", a=frame, b=again, c=frame.iloc[[199]])
    result, rows, reasons = ingested(ingest_request(folder, **KEY))
    assert reasons == ["id repeats the key of an earlier row"] * 2
    assert rows.column("x").to_pylist() == frame["x"].tolist()  # the first row of each key
    assert result.warnings[-1].endswith(
        "id repeats the key of an earlier row (2: b.csv row 200 '0', c.csv row 201 '199')"
    )


def test_33_second_row_of_a_key_is_set_aside_when_keys_are_too_many_for_memory(
    tmp_path, ingest_request, ingested, frame, monkeypatch
):
    folder = written(tmp_path / "data", a=frame, b=frame.iloc[:1].assign(x=100.0), c=frame.iloc[[199]])
    in_memory, _, _ = ingested(ingest_request(folder, **KEY))
    monkeypatch.setattr(ingest, "FirstPass", functools.partial(FirstPass, most=50))
    on_disk = ingest.run(ingest_request(folder, **KEY).model_copy(update={"workspace": str(tmp_path / "another")}))
    assert on_disk.rows == in_memory.rows
    assert on_disk.files == in_memory.files  # the same bytes


def test_33_second_row_of_a_key_is_set_aside_over_batches(ingest_request, ingested):
    count = 150_000
    random = np.random.default_rng(0)
    keys = random.permutation(count)
    keys[-500:] = keys[:500]  # in the first batch and in the last
    rows = pd.DataFrame({"id": keys, "x": random.normal(size=count), "y": random.choice(["no", "yes"], count)})
    result, accepted, _ = ingested(ingest_request(rows, name="a.parquet", **KEY))
    assert result.rows.rejected == 500
    assert accepted.column("_row").to_pylist() == list(range(count - 500))


def test_33_rejected_row_does_not_take_the_key(ingest_request, ingested, frame):
    rows = pd.concat([frame.iloc[[0]].assign(x="bad"), frame])
    _, accepted, reasons = ingested(ingest_request(rows, **KEY))
    assert reasons == ["x is no number"]
    assert accepted.num_rows == 200


def test_33_key_of_several_columns_and_missing_key(ingest_request, ingested, frame):
    rows = frame.assign(a=[*[1, 1, 2], *range(10, 207)], b=[1, 2, 1, *[None] * 1, *[5] * 196])
    _, accepted, reasons = ingested(ingest_request(rows, data={"key": ["a", "b"]}))
    assert reasons == ["b is missing, but is a key"]
    assert accepted.num_rows == 199


def splits_by(rows: pa.Table, column: str) -> dict:
    """The splits in which each value of a column stands."""
    return rows.select([column, "split"]).to_pandas().groupby(column)["split"].agg(set).to_dict()


@pytest.mark.parametrize("kind", ["values", "group"])
def test_34_equal_rows_and_rows_of_a_group_share_a_split(ingest_request, ingested, frame, kind):
    rows = pd.concat([frame, frame, frame.iloc[:50]])
    split = {"by": "group", "column": "id"} if kind == "group" else {}
    _, accepted, _ = ingested(ingest_request(rows, split=split))
    assert all(len(found) == 1 for found in splits_by(accepted, "_split" if kind == "group" else "x").values())


def test_34_row_of_a_rare_class_moves_with_its_twins(ingest_request, ingested, frame):
    rare = pd.DataFrame({"x": [100.0, 101.0, 102.0] * 4, "y": "rare"})
    rows = pd.concat([frame, rare])
    for seed in range(5):
        request = ingest_request(rows, problem="multiclass", split={"seed": seed})
        found = splits_by(ingested(request)[1].filter(pa.compute.field("y") == "rare"), "x")
        assert sorted(map(min, found.values())) == ["test", "train", "validation"]
        assert all(len(splits) == 1 for splits in found.values())


@pytest.mark.parametrize(
    ("y", "problem", "said"),
    [
        (["no"] * 200, "binary", "target 'y' has one class only, 'no': there is nothing to learn"),
        (["no"] * 200, "multiclass", "target 'y' has one class only, 'no'"),
        ([""] * 200, "multilabel", "target 'y' has no label at all"),
        ([7.5] * 200, "regression", "target 'y' is 7.5 in every row: there is nothing to learn"),
        (["a", "b", "c", "d"] * 50, "binary", r"has 4 classes \(a, b, c, d\.\.\.\), but problem binary wants two"),
    ],
)
def test_35_target_that_tells_nothing_apart_is_refused(ingest_request, refused, frame, y, problem, said):
    data = {"nulls": []} if problem == "multilabel" else {}
    message = refused(ingest_request(frame.assign(y=y), problem=problem, data=data))
    assert re.search(said, message), message


def test_35_positive_class_that_no_row_has_is_refused(ingest_request, refused, frame):
    message = refused(ingest_request(frame, target={"column": "y", "positive": "maybe"}))
    assert message == "target.positive 'maybe' is no label; there are no, yes"


@pytest.mark.parametrize("problem", ["multiclass", "multilabel"])
def test_36_class_too_rare_to_split_is_refused_with_counts(ingest_request, refused, frame, problem):
    rows = frame.assign(y=[*["rare"] * 2, *["once"], *frame["y"][3:]])
    message = refused(ingest_request(rows, problem=problem))
    assert re.search(
        r"too rare .*: class 'once' \(\d \+ \d \+ \d rows\), 'rare' \(\d \+ \d \+ \d rows\); collect", message
    )


def test_36_class_of_equal_rows_alone_is_refused(ingest_request, refused, frame):
    rows = pd.concat([frame, pd.DataFrame({"x": [7.0] * 500, "y": "same"})])
    assert re.search(
        r"class 'same' \(.*500.* rows\); .* name a data.key", refused(ingest_request(rows, problem="multiclass"))
    )


@pytest.mark.parametrize("columns", [["a", "b", "c"], ["a", "b"]])
def test_36_class_of_a_column_without_a_one_is_refused(ingest_request, refused, frame, columns):
    rows = frame.assign(a=[0, 1] * 100, b=[1, 0] * 100, c=0)[["x", "a", "b", "c"]]
    if columns == ["a", "b"]:
        rows = rows.assign(b=0, a=1)
    message = refused(ingest_request(rows, problem="multiclass", target={"columns": columns}))
    assert re.search(r"class 'c' \(0 \+ 0 \+ 0 rows\)|one class only, 'a'", message)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ([1, 1, 0], "a, b, c are not 1 in exactly one column"),
        ([0, 0, 0], "a, b, c are not 1 in exactly one column"),
        ([0, 2, 1], "b is neither of the words for true and false"),
        ([0, None, 1], "b is missing"),
    ],
)
def test_36_row_of_no_class_or_two_is_set_aside(ingest_request, ingested, frame, row, reason):
    ones = np.eye(3, dtype=int)[np.arange(200) % 3].astype(object)
    ones[5] = row
    rows = pd.DataFrame({"x": frame["x"], **dict(zip("abc", ones.T, strict=True))})
    assert ingested(ingest_request(rows, problem="multiclass", target={"columns": list("abc")}))[2] == [reason]


@pytest.mark.parametrize("by", ["column", "time", "group"])
def test_37_class_first_seen_outside_training_is_refused_with_counts(ingest_request, refused, frame, by):
    late = np.arange(200) >= 180
    rows = frame.assign(
        y=np.where(late, "new", frame["y"]),
        split=np.where(late, "test", np.where(np.arange(200) >= 150, "validation", "train")),
        time=pd.date_range("2024-01-01", periods=200).astype(str),
        group=np.where(late, 7, frame["id"]),
    )
    column = {"column": "split", "time": "time", "group": "group"}[by]
    seed = {"seed": 5} if by == "group" else {}
    message = refused(ingest_request(rows, problem="multiclass", split={"by": by, "column": column, **seed}))
    assert re.search(r"no row of the training split has class 'new' \(0 \+ \d+ \+ \d+ rows\); collect", message)


def test_38_unknown_category_gets_a_bucket_and_its_rate_is_reported(ingest_request, ingested, frame):
    rows = frame.assign(
        split=["train"] * 150 + ["validation"] * 25 + ["test"] * 25, colour=[*frame["colour"][:175], *["mauve"] * 25]
    )
    request = ingest_request(
        rows,
        split={"by": "column", "column": "split"},
        columns={"colour": {"kind": "one_hot"}, "x": {"kind": "numeric"}},
    )
    result, _, _ = ingested(request)
    encoded = encode.run(EncodeRequest(workspace=request.workspace, ingest=result.as_input))
    assert encoded.warnings[0].startswith("column 'colour': 100.0% of the test rows have a category that is unknown")


def test_unknown_split_is_refused_with_its_row(ingest_request, refused, frame):
    rows = frame.assign(split=["train", "validation", "test", "Test"] * 50)
    message = refused(ingest_request(rows, split={"by": "column", "column": "split"}))
    assert "split.column 'split' holds 'Test' in row 3; name it under split.train" in message
