"""Sources: the same rows in whatever pieces they are read, and a fingerprint that changes when any byte does."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from schemas.data import Source
from schemas.errors import DataError, SpecError
from schemas.profile import Profile
from tasks.sources import columnar, csv_files, files, json_lines
from tasks.sources.files import fingerprint, list_files
from tasks.sources.readers import open_file


@pytest.fixture
def small_pieces(monkeypatch):
    """Let every reader take a few rows at a time."""
    monkeypatch.setattr(csv_files, "BLOCK_BYTES", 600)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 600)
    monkeypatch.setattr(columnar, "_BATCH_ROWS", 7)


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "jsonl", "parquet", "arrow"])
def test_pieces_change_neither_rows_nor_splits_nor_profile(
    ingest_request, ingested, frame, ending, small_pieces, monkeypatch
):
    keys = {"columns": {"x": {"kind": "numeric"}, "colour": {"kind": "one_hot"}}}
    request = ingest_request(frame, name=f"a.{ending}", **keys)
    few, few_rows, _ = ingested(request)
    monkeypatch.undo()
    many, many_rows, _ = ingested(request.model_copy(update={"workspace": f"{request.workspace}2"}))
    assert few_rows.equals(many_rows)
    assert few.files["rows/train.parquet"] == many.files["rows/train.parquet"]
    words = [Profile.load(Path(each.path, "profile.json")).columns["colour"] for each in (few, many)]
    assert words[0] == words[1]


def test_long_rows_come_in_smaller_batches(ingest_request):
    wide = pd.DataFrame({"x": list(np.zeros((300, 50_000), np.float32))})
    for ending in ("parquet", "arrow"):
        request = ingest_request(wide, name=f"wide.{ending}")
        counts = [each.columns.num_rows for each in batches(request.source, ["x"])]
        assert sum(counts) == 300
        assert max(counts) <= 200


def batches(source: Source, columns: list[str]):
    """All batches of a source's only file."""
    (file,) = list_files(source)
    return list(open_file(file, source).batches(columns))


def rows(path, columns, **keys) -> list[dict]:
    """All rows of a file."""
    return [row for batch in batches(Source(path=str(path), **keys), columns) for row in batch.columns.to_pylist()]


def test_json_reads_text_as_text_and_keeps_zones(tmp_path):
    path = tmp_path / "a.jsonl"
    lines = [{"t": "2024-01-31T10:00:00+02:00", "n": 1}, {"t": "2024-01-31", "n": 2.5}, {"n": 3}]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert [row["t"] for row in rows(path, ["t"])] == ["2024-01-31T10:00:00+02:00", "2024-01-31", None]
    assert [row["n"] for row in rows(path, ["n", "t"])] == [1.0, 2.5, 3.0]


def test_json_types_may_change_from_block_to_block(tmp_path, small_pieces):
    path = tmp_path / "a.jsonl"
    values = [*range(40), *(f"w{each}" for each in range(40)), *([True, None] * 20), *([1, 2.5] * 20)]
    path.write_text("".join(f"{json.dumps({'v': value})}\n" for value in values))
    found = [row["v"] for row in rows(path, ["v"])]
    as_text = [each if each is None else str(each).removesuffix(".0").lower() for each in found]
    assert as_text == [value if value is None else str(value).lower() for value in values]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252", "gb18030"])
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_text_of_any_encoding_is_read(tmp_path, small_pieces, encoding, ending):
    word = "ÄÖ" if encoding != "gb18030" else "数据"
    frame = pd.DataFrame({"x": range(200), word: [f"{word}{each}" for each in range(200)]})
    text = (
        frame.to_csv(index=False) if ending == "csv" else frame.to_json(orient="records", lines=True, force_ascii=False)
    )
    path = tmp_path / f"a.{ending}"
    path.write_bytes(text.encode(encoding))
    assert [row[word] for row in rows(path, [word], encoding=encoding)] == frame[word].tolist()
    fingerprint(list_files(Source(path=str(path))), encoding=encoding)


def test_encoding_that_nobody_knows_is_an_error_of_the_spec(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("x\n1\n")
    with pytest.raises(SpecError, match=r"data.encoding 'utf-9' is unknown"):
        rows(path, ["x"], encoding="utf-9")


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_character_that_spans_two_chunks_is_whole(tmp_path, monkeypatch, cut):
    path = tmp_path / "a.csv"
    path.write_bytes("x,y\n1,äöü€\n2,数据😀\n".encode())
    monkeypatch.setattr("tasks.sources.files._CHUNK_BYTES", cut)
    fingerprint(list_files(Source(path=str(path))))
    path.write_bytes("x,y\n1,äöü€\n2,数据".encode() + b"\xff\n")
    with pytest.raises(DataError, match="byte 0xff at offset 24 is not UTF-8"):
        fingerprint(list_files(Source(path=str(path))))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("in", ["in/a.csv", "in/deep/c.csv"]),
        ("in/*.csv", ["in/a.csv"]),
        ("in/**/*.csv", ["in/a.csv", "in/deep/c.csv"]),
        ("in/_*.csv", ["in/_b.csv"]),
        ("in/.t*/*.csv", ["in/.tmp/d.csv"]),
    ],
)
def test_folders_and_globs_leave_out_names_with_a_dot_or_underscore_but_those_they_ask_for(tmp_path, pattern, expected):
    """Whoever writes under such a name and renames lets nobody read half a file."""
    for name in ("in/a.csv", "in/_b.csv", "in/deep/c.csv", "in/.tmp/d.csv", "in/deep/_e/f.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x\n1\n")
    found = [
        Path(file.path).relative_to(tmp_path).as_posix() for file in list_files(Source(path=f"{tmp_path}/{pattern}"))
    ]
    assert found == expected


def test_fingerprint_is_of_the_content_alone(tmp_path):
    def of(name, content):
        (tmp_path / name).write_bytes(content)
        return fingerprint(list_files(Source(path=str(tmp_path / name))))

    assert of("a.csv", b"x\n1\n") == of("b.csv", b"x\n1\n") == of("c.csv.gz", gzip.compress(b"x\n1\n"))
    assert of("a.csv", b"x\n1\n") != of("a.csv", b"x\n2\n")


def test_remembered_fingerprint_lasts_as_long_as_the_file(tmp_path):
    path, memory = tmp_path / "a.csv", tmp_path / "deep" / "memory.json"
    path.write_bytes(b"x\n1\n")
    files = list_files(Source(path=str(path)))
    first = fingerprint(files, memory=memory)
    (known,) = json.loads(memory.read_text())
    memory.write_text(json.dumps({known: "0" * 64}))
    assert fingerprint(files, memory=memory) == fingerprint(files, memory=memory) != first
    assert fingerprint(files, memory=memory, verify=True) == fingerprint(files, memory=memory) == first
    path.write_bytes(b"x\n2\n")
    assert fingerprint(files, memory=memory) == fingerprint(files)
    memory.write_text("{broken")
    assert fingerprint(files, memory=memory) == fingerprint(files)


def test_what_was_written_while_it_was_read_is_not_remembered(tmp_path, monkeypatch):
    path, memory, read = tmp_path / "a.csv", tmp_path / "memory.json", files._file_fingerprint
    path.write_bytes(b"x\n1\n")

    def late(file, encoding):
        found = read(file, encoding)
        path.write_bytes(b"x\n1\n2\n")
        return found

    with monkeypatch.context() as patched:
        patched.setattr(files, "_file_fingerprint", late)
        fingerprint(source := list_files(Source(path=str(path))), memory=memory)
    assert not memory.exists()
    assert fingerprint(source, memory=memory) == fingerprint(source)


def test_names_of_columns_may_stand_in_a_header_of_several_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('"x\nof\ntwo","y"\n1,a\n2,b\n')
    assert rows(path, ["x\nof\ntwo"]) == [{"x\nof\ntwo": "1"}, {"x\nof\ntwo": "2"}]


def test_column_named_before_a_dot_is_not_taken_for_a_nested_one(tmp_path, ingest_request):
    frame = pd.DataFrame({"a.b": [1, 2], "a": [3, 4], "a.b.c": [5, 6]})
    request = ingest_request(frame, name="a.parquet")
    assert rows(request.source.path, ["a", "a.b"]) == [{"a": 3, "a.b": 1}, {"a": 4, "a.b": 2}]


def test_dictionaries_come_as_what_they_stand_for(tmp_path):
    words = pa.array(["a", None, "b", "a"]).dictionary_encode()
    path = tmp_path / "a.arrow"
    with pa.ipc.new_file(path, pa.schema([("w", words.type)])) as writer:
        writer.write_table(pa.table({"w": words}))
    assert [row["w"] for row in rows(path, ["w"])] == ["a", None, "b", "a"]
