"""Ingest: from any kind of file to the same rows, split once and for all, published once."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from schemas.profile import Profile
from tasks import ingest

COUNT = 300


@pytest.fixture
def traits() -> pd.DataFrame:
    """Numbers with all that a column can hold: missing values, text, dates, words, tensors, and lists of labels."""
    number = np.arange(COUNT)
    return pd.DataFrame(
        {
            "id": number,
            "x": np.where(number % 7 == 0, np.nan, number / 8),
            "word": np.where(number % 5 == 0, None, [f"w{each % 11}" for each in number]),
            "born": pd.date_range("1999-12-31", periods=COUNT, freq="36h").astype(str),
            "on": number % 3 == 0,
            "image": [[each / 2, 1.0, -each / 4, 0.5] for each in range(COUNT)],
            "y": [[name for name, holds in (("even", each % 2 == 0), ("big", each > 99)) if holds] for each in number],
        }
    )


KEYS = {
    "problem": "multilabel",
    "columns": {
        "x": {"kind": "numeric"},
        "word": {"kind": "one_hot"},
        "born": {"kind": "datetime"},
        "on": {"kind": "boolean"},
        "image": {"kind": "tensor", "shape": [2, 2]},
    },
    "data": {"key": ["id"]},
}


def csv(frame: pd.DataFrame) -> bytes:
    return frame.assign(y=frame["y"].map("|".join)).to_csv(index=False).encode()


def json_lines(frame: pd.DataFrame) -> bytes:
    return frame.to_json(orient="records", lines=True).encode()


def mixed_json_lines(frame: pd.DataFrame) -> bytes:
    """Lines in which types change from row to row, which Arrow's reader refuses."""
    rows = [json.loads(line) for line in json_lines(frame).splitlines()]
    for row in rows[::4]:
        row.update(x=None if row["x"] is None else str(row["x"]), on=str(row["on"]), id=float(row["id"]))
    return "\n".join(map(json.dumps, rows)).encode()


def arrow(frame: pd.DataFrame, *, stream: bool = False) -> bytes:
    table, sink = pa.Table.from_pandas(frame), pa.BufferOutputStream()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=70)
    return sink.getvalue().to_pybytes()


def parquet(frame: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(frame), sink, row_group_size=70)
    return sink.getvalue().to_pybytes()


WRITERS = {
    "a.csv": csv,
    "a.csv.gz": lambda frame: gzip.compress(csv(frame)),
    "a.jsonl": json_lines,
    "mixed.jsonl": mixed_json_lines,
    "a.parquet": parquet,
    "a.arrow": arrow,
    "stream.arrow": lambda frame: arrow(frame, stream=True),
    "categories.parquet": lambda frame: parquet(frame.assign(word=frame["word"].astype("category"))),
    "times.parquet": lambda frame: parquet(frame.assign(born=pd.to_datetime(frame["born"]))),
    "large.parquet": lambda frame: parquet(
        frame.assign(word=pd.array(frame["word"], pd.ArrowDtype(pa.large_string())))
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_rows(ingest_request, ingested, traits, name):
    _, expected, _ = ingested(ingest_request(csv(traits), **KEYS))
    result, rows, _ = ingested(ingest_request(WRITERS[name](traits), name=name, **KEYS))
    assert result.rows.accepted == COUNT
    assert rows.equals(expected)


@pytest.mark.parametrize("place", ["folder", "glob", "memory"])
def test_every_place_gives_the_same_rows(tmp_path, ingest_request, ingested, traits, place):
    _, expected, _ = ingested(ingest_request(csv(traits), **KEYS))
    folder = tmp_path / "data" if place != "memory" else f"memory://{tmp_path.name}"
    system, root = fsspec.url_to_fs(str(folder))
    for start in (0, 100, 200):
        system.makedirs(f"{root}/from={start}", exist_ok=True)
        system.pipe_file(f"{root}/from={start}/rows.csv", csv(traits[start : start + 100]))
    source = f"{folder}/*/rows.csv" if place == "glob" else str(folder)
    assert ingested(ingest_request(source, **KEYS))[1].equals(expected)


@pytest.mark.parametrize("key", [["id"], []])
def test_hash_split_keeps_each_row_where_it_is(ingest_request, ingested, traits, key):
    keys = {**KEYS, "data": {"key": key}}
    first, second = traits[:200], traits.sample(frac=1, random_state=1)
    before, after = (ingested(ingest_request(parquet(rows), name="a.parquet", **keys))[1] for rows in (first, second))
    frames = [rows.to_pandas().set_index("born")["split"] for rows in (before, after)]
    assert (frames[0] == frames[1][frames[0].index]).all()
    moved = ingested(ingest_request(parquet(second), name="a.parquet", **keys, split={"seed": 1}))[1]
    assert (moved.to_pandas().set_index("born")["split"] != frames[1]).any()


def test_hash_split_has_the_shares_asked_for(ingest_request, ingested):
    rows = pd.DataFrame({"x": np.arange(20_000.0), "y": ["no", "yes"] * 10_000})
    counts = ingested(ingest_request(rows, split={"validation": 0.1, "test": 0.25}))[0].rows
    assert (counts.validation, counts.test) == (pytest.approx(2_000, rel=0.06), pytest.approx(5_000, rel=0.06))


def test_time_split_trains_on_the_oldest_rows(ingest_request, ingested, frame):
    days = pd.date_range("2024-01-01", periods=200).strftime("%d.%m.%Y")
    rows = frame.assign(day=days).sample(frac=1, random_state=0)
    columns = {"x": {"kind": "numeric"}, "day": {"kind": "datetime", "format": "%d.%m.%Y"}}
    split = {"by": "time", "column": "day", "validation": 0.25, "test": 0.25}
    _, accepted, _ = ingested(ingest_request(rows, columns=columns, split=split))
    by_day = accepted.sort_by("day").column("split").to_pylist()
    assert by_day == ["train"] * 100 + ["validation"] * 50 + ["test"] * 50


def test_column_split_does_as_the_column_says(ingest_request, ingested, frame):
    rows = frame.assign(fold=["a", "b", "c", "d"] * 50)
    split = {"by": "column", "column": "fold", "train": ["a", "b"], "validation": ["c"], "test": ["d"]}
    _, accepted, _ = ingested(ingest_request(rows, split=split))
    assert accepted.column("split").to_pylist() == ["train", "train", "validation", "test"] * 50


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("problem", ["multiclass", "multilabel"])
def test_rare_classes_stand_in_every_split(ingest_request, ingested, frame, seed, problem):
    rows = frame.assign(y=[*["three"] * 3, *["four"] * 4, *frame["y"][7:]])
    _, accepted, _ = ingested(ingest_request(rows, problem=problem, split={"seed": seed}))
    names = accepted.column("y").to_pylist()
    stands = {
        (str(name if problem == "multiclass" else name[0]), split)
        for name, split in zip(names, accepted.column("split").to_pylist(), strict=True)
    }
    assert {split for name, split in stands if name == "three"} == {"train", "validation", "test"}
    assert {split for name, split in stands if name == "four"} == {"train", "validation", "test"}
    assert accepted.num_rows == 200


def test_few_rows_of_several_labels_are_spread_for_all_of_them(ingest_request, ingested):
    labels = ["a|b", "a|c", "b|c", "a|d", "b|d", "c|d", "a|b|c|d", "a", "b", "c", "d", "a|c|d"]
    rows = pd.DataFrame({"x": range(12), "y": labels})
    for seed in range(8):
        _, accepted, _ = ingested(ingest_request(rows, problem="multilabel", split={"seed": seed}))
        pairs = zip(accepted.column("y").to_pylist(), accepted.column("split").to_pylist(), strict=True)
        assert len({(name, split) for names, split in pairs for name in names}) == 12


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "much"])
def test_weight_that_is_none_is_refused(ingest_request, refused, frame, weight):
    """R31."""
    weights = [1.0] * 200
    weights[7] = weight
    message = refused(ingest_request(frame.assign(w=weights), data={"weight": "w"}))
    assert "weight column 'w' must hold numbers of 0 or more, got" in message
    assert "(row 7; 1 of rows 0 to 199)" in message


def test_weights_of_nothing_but_zeros_are_refused(ingest_request, refused, ingested, frame):
    """R31."""
    request = ingest_request(frame.assign(w=0), data={"weight": "w"})
    assert "weight column 'w' holds nothing but zeros in the train split" in refused(request)
    _, rows, _ = ingested(ingest_request(frame.assign(w=[0, 0.5] * 100), data={"weight": "w"}))
    assert rows.column("_weight").to_pylist() == [0, 0.5] * 100


def test_profile_has_the_figures_of_pandas(ingest_request, ingested, traits):
    result, _, _ = ingested(ingest_request(csv(traits), **KEYS))
    profile = Profile.load(Path(result.path, "profile.json"))
    assert (profile.rows, profile.sample) == (COUNT, COUNT)
    x, figures = traits["x"], profile.columns["x"]
    assert (figures.missing, figures.unique) == (x.isna().sum(), x.nunique())
    expected = [x.min(), x.max(), x.mean(), x.std(ddof=0)]
    assert [figures.minimum, figures.maximum, figures.mean, figures.deviation] == pytest.approx(expected)
    counts, edges = np.histogram(x.dropna(), bins=30)
    assert figures.histogram.counts == tuple(counts)
    assert figures.histogram.edges == pytest.approx(edges)
    words = traits["word"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    assert profile.columns["word"].top == tuple(words.items())
    assert (profile.columns["word"].missing, profile.columns["word"].unique) == (60, 11)
    assert dict(profile.columns["on"].top) == {"true": 100, "false": 200}
    born = pd.to_datetime(traits["born"])
    assert profile.columns["born"].minimum == born.min().timestamp()
    assert profile.columns["image"].mean == pytest.approx(np.mean(traits["image"].tolist()))
    assert dict(profile.columns["y"].top) == traits["y"].explode().value_counts().to_dict()


def test_second_run_returns_the_same_result_and_writes_nothing(ingest_request, frame):
    request = ingest_request(frame)
    first = ingest.run(request)
    times = {path: path.stat().st_mtime_ns for path in Path(first.path).rglob("*")}
    assert ingest.run(request) == first
    assert {path: path.stat().st_mtime_ns for path in Path(first.path).rglob("*")} == times


def test_two_workspaces_hold_the_same_bytes(tmp_path, ingest_request, frame):
    request = ingest_request(frame, data={"key": ["id"]})
    first = ingest.run(request)
    second = ingest.run(request.model_copy(update={"workspace": str(tmp_path / "other")}))
    assert (first.run_key, first.files) == (second.run_key, second.files)


def test_run_key_changes_with_the_data_and_the_request(tmp_path, ingest_request, frame):
    request = ingest_request(frame)
    keys = {ingest.run_key(request), ingest.run_key(request.model_copy(update={"minimum_rows": 11}))}
    (tmp_path / "rows.csv").write_text((tmp_path / "rows.csv").read_text().replace("red", "rad", 1))
    assert len(keys | {ingest.run_key(request)}) == 3


def test_run_key_stays_when_the_file_moves(tmp_path, ingest_request, frame):
    request = ingest_request(frame)
    before = ingest.run_key(request)
    moved = (tmp_path / "rows.csv").rename(tmp_path / "elsewhere.csv")
    assert ingest.run_key(ingest_request(moved)) == before


def test_unchanged_file_is_not_read_again_unless_it_is_to_be_verified(ingest_request, frame):
    request = ingest_request(frame)
    right, memory = ingest.run_key(request), Path(request.workspace, "fingerprints.json")
    memory.write_text(json.dumps(dict.fromkeys(json.loads(memory.read_text()), "0" * 64)))
    assert ingest.run_key(request) != right
    assert ingest.run_key(request.model_copy(update={"verify": True})) == right
    assert ingest.run_key(request) == right  # what was found is remembered


PEAK = """
import re, sys
from pathlib import Path
from schemas.stages import IngestRequest
from tasks import ingest
print(ingest.run(IngestRequest.model_validate_json(sys.argv[1])).rows.accepted)
# ru_maxrss would be that of the process that started this one, if it was larger.
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.slow
def test_memory_stays_flat_as_rows_grow(tmp_path, ingest_request):
    peaks = []
    for count in (750_000, 2_000_000):  # with fewer, the files of validation and test have no whole row group
        path = tmp_path / f"{count}.parquet"
        random = np.random.default_rng(0)
        with pq.ParquetWriter(
            path, pa.schema([*((f"x{at}", pa.float64()) for at in range(8)), ("word", pa.string()), ("y", pa.string())])
        ) as writer:
            for _ in range(count // 250_000):
                numbers = {f"x{at}": random.normal(size=250_000) for at in range(8)}
                words = np.char.add("word ", random.integers(0, 5_000, 250_000).astype(str))
                writer.write_table(pa.table({**numbers, "word": words, "y": np.where(numbers["x0"] > 0, "yes", "no")}))
        columns = {f"x{at}": {"kind": "numeric"} for at in range(8)} | {"word": {"kind": "embedding"}}
        request = ingest_request(path, columns=columns)
        done = subprocess.run(
            [sys.executable, "-c", PEAK, request.to_json()], capture_output=True, text=True, check=True
        )
        rows, peak = map(int, done.stdout.split())
        assert rows == count
        peaks.append(peak)
    assert peaks[1] < 600
    assert peaks[1] - peaks[0] < 100
