"""Files that are not what they should be: each is refused with a message that says what to do."""

import gzip
import io
import logging
import os
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.errors import SpecError
from tasks import ingest
from tasks.sources import batch

GOOD = b"x,y\n" + b"".join(b"%d,%s\n" % (row, b"yes" if row % 2 else b"no") for row in range(60))


def parquet(**columns) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        pytest.param("a.csv", b"", "a.csv is empty", id="1-csv"),
        pytest.param("a.csv.gz", gzip.compress(b""), "a.csv.gz is empty", id="1-gzip"),
        pytest.param("a.parquet", b"", "a.parquet is empty", id="1-parquet"),
        pytest.param("a.arrow", b"", "a.arrow is empty", id="1-arrow"),
        pytest.param("a.jsonl", b"", "a.jsonl is empty", id="1-json"),
        pytest.param("a.csv", b"x,y\n", "a.csv holds 0 rows", id="2-csv"),
        pytest.param("a.csv", b"x,y", "a.csv holds 0 rows", id="2-no-newline"),
        pytest.param("a.parquet", parquet(x=[], y=[]), "a.parquet holds 0 rows", id="2-parquet"),
        pytest.param("a.csv", b"x,y\n1,no\n2,yes\n3,no\n", "3 rows are too few; data.minimum_rows is 10", id="3"),
        pytest.param("a.csv", b"x,y,x\n1,no,2\n", "a.csv: column 'x' stands 2 times; rename one", id="4"),
        pytest.param("a.csv", b"x,y,,\n1,no,,\n", "column '' stands 2 times", id="4-blank"),
        pytest.param("a.csv", b"x,y, X\n1,no,2\n", "columns 'x' and ' X' differ only in case, spaces", id="6-case"),
        pytest.param(
            "a.csv",
            "x,y,é,{}\n1,no,2,3\n".format(unicodedata.normalize("NFD", "é")).encode(),
            "differ only in case, spaces or accents' form",
            id="6-accent",
        ),
        pytest.param("a.csv", b"x,y\n1,n\xf6\n", r"byte 0xf6 at offset 7 is not UTF-8; set data.encoding", id="8"),
        pytest.param("a.csv", b"x,y\n1,no\xc3", r"byte 0xc3 at offset 8 is not UTF-8", id="8-cut"),
        pytest.param("a.jsonl", b'{"x": 1, "y": "\xff"}\n', r"byte 0xff at offset 15 is not UTF-8", id="8-json"),
        pytest.param("a.csv", b"x,y\n1,no\n2,\0\n", "a.csv: NUL byte in line 3", id="9"),
        pytest.param("a.csv", GOOD + b"7\n", "the last line, 62, has 1 fields, not 2: the file is cut off", id="11"),
        pytest.param("a.jsonl", b'{"x": 1, "y": "no"}\n{"x": 1, "y', "last line, 2, is cut off", id="11-json"),
        pytest.param("a.csv", GOOD[:-7] + b'7,"no\n', "line 61: a quote is opened and never closed", id="12-last"),
        pytest.param(
            "a.csv", b'x,y\n1,"no\n' + GOOD[4:], "line 2: a quote is opened and never closed", id="12-swallows"
        ),
        pytest.param(
            "a.csv", b'x,y\n1,no\n"2,no\n' + GOOD[4:], "line 3: a quote is opened and never clos", id="12-first"
        ),
        pytest.param(
            "a.csv", b'x,y\n1,no\n2,"no\n3,"no"\n' + GOOD[4:], "line 3: a quote is opened and not cl", id="12-next"
        ),
        pytest.param(
            "a.csv", b'x,y\n1,"no\n2\n3,no"\n4,"no\n"5,no\n', "line 5: a quote is opened", id="12-after-lines"
        ),
        pytest.param("a.csv", GOOD + b'3,no\n",4\n"x","no"', "line 63: a quote is opened", id="12-at-the-end"),
        pytest.param("a.csv", b'x,"y\n1,no\n', "a.csv: line 1: the header cannot be read", id="12-header"),
        pytest.param(
            "a.csv", b'x,y\n1,"' + b"no\n" * 7_000_000, "a row is longer than 8 MiB: is a quote", id="12-long"
        ),
        pytest.param("a.csv", b"x;y\n1;no\n", "only one column is found; set data.delimiter to ';'", id="13"),
        pytest.param("a.parquet", parquet(x=[1], y=["no"])[:-9], "a.parquet cannot be read as parquet", id="16-footer"),
        pytest.param("a.parquet", GOOD, "a.parquet cannot be read as parquet", id="16-csv"),
        pytest.param("a.arrow", GOOD, "a.arrow cannot be read as arrow", id="16-arrow"),
        pytest.param("a.csv.gz", gzip.compress(GOOD)[:-12], "a.csv.gz cannot be read as csv", id="16-gzip"),
        pytest.param("a.csv.gz", GOOD, "a.csv.gz cannot be read as csv", id="16-no-gzip"),
        pytest.param(
            "a.jsonl", b'[{"x": 1}]\n', "line 1 is no JSON object: .*; json means one object a line", id="json-array"
        ),
        pytest.param("a.csv", b"\n\nx,y\n1,no\n", "line 1 is blank; it must be the header", id="blank-header"),
        pytest.param("a.dat", GOOD, "cannot tell the format of .*a.dat by its ending; set data.format", id="ending"),
    ],
)
def test_broken_file_is_refused(ingest_request, refused, name, content, said):
    message = refused(ingest_request(content, name=name))
    assert re.search(said, message), message


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        pytest.param(b"\xef\xbb\xbf" + GOOD, {}, id="7-bom"),
        pytest.param(b'\xef\xbb\xbf"x"' + GOOD[1:], {}, id="7-bom-and-quote"),
        pytest.param(GOOD.replace(b"yes", b"\xf6"), {"data": {"encoding": "latin-1"}}, id="8-latin"),
        pytest.param(GOOD.decode().encode("utf-16"), {"data": {"encoding": "utf-16"}}, id="8-utf-16"),
        pytest.param(GOOD.replace(b",", b";"), {"data": {"delimiter": ";"}}, id="13-delimiter"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), {}, id="windows"),
        pytest.param(GOOD.rstrip(), {}, id="no-last-newline"),
        pytest.param(GOOD.replace(b"no", b'"n""o\n"'), {}, id="quotes-and-newlines"),
        pytest.param(GOOD.replace(b"no", b'5" pipe'), {}, id="12-stray-quotes"),
        pytest.param(GOOD.replace(b"no", b'"a ""line"",\nof, two"'), {}, id="12-quotes-and-lines-in-a-value"),
    ],
)
def test_unusual_file_is_read(ingest_request, ingested, content, keys):
    result, rows, _ = ingested(ingest_request(content, **keys))
    assert (result.rows.accepted, result.rows.rejected) == (60, 0)
    assert rows.column("x").to_pylist() == list(range(60))


@pytest.mark.parametrize("name", ["", " ", "a/b\nc", "../../etc", "😀.x", 'say "x"', "x.y"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_5_exotic_name_is_taken_and_is_never_a_path(ingest_request, ingested, frame, name, ending):
    table = frame.rename(columns={"x": name}).assign(x=1)
    result, rows, _ = ingested(
        ingest_request(table, name=f"a.{ending}", columns={name: {"kind": "numeric"}, "x": {"kind": "numeric"}})
    )
    assert rows.column(name).to_pylist() == frame["x"].tolist()
    files = {"contract.json", "profile.json", "reference.json", "rejected.parquet"}
    assert {*result.files} == files | {f"rows/{split}.parquet" for split in ("train", "validation", "test")}


def test_10_one_row_too_long_is_quarantined_with_its_line(ingest_request, ingested):
    result, _, reasons = ingested(ingest_request(GOOD + GOOD[4:] + b"7,no,no\n" + GOOD[4:]))
    assert result.rows.accepted == 180
    assert reasons == ["line 122 has 3 fields, not 2"]


def test_10_stray_quote_in_a_row_too_long_is_no_open_quote(ingest_request, ingested):
    _, _, reasons = ingested(ingest_request(GOOD + GOOD[4:] + b'7,5" no,no\n' + GOOD[4:]))
    assert reasons == ["line 122 has 3 fields, not 2"]


def test_10_every_row_one_field_too_long_is_refused(ingest_request, refused):
    message = refused(ingest_request(GOOD.replace(b"\n", b",\n").replace(b",\n", b"\n", 1)))
    assert "60 of 60 rows break the contract" in message
    assert "does not parse (60: line 2 has 3 fields, not 2, line 3 has" in message


def test_10_line_that_is_no_json_is_quarantined(ingest_request, ingested, frame):
    lines = frame.to_json(orient="records", lines=True).splitlines()
    text = "\n".join([*lines[:50], '{"x": 1, "x": 2, "y": "no"}', *lines[50:], ""])
    _, rows, reasons = ingested(ingest_request(text.encode(), name="a.jsonl"))
    assert reasons == ["line 51 is no JSON object: a key stands twice"]
    assert rows.column("x").to_pylist() == frame["x"].tolist()


def test_16_flipped_bit_in_parquet_is_found_by_its_checksum(ingest_request, refused, frame):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame), buffer, write_page_checksum=True, compression="none")
    content = bytearray(buffer.getvalue())
    content[content.index(b"green") + 2] ^= 1
    request = ingest_request(bytes(content), name="a.parquet", columns={"colour": {"kind": "one_hot"}})
    assert "a.parquet cannot be read as parquet" in refused(request)


PEAK = """
import resource, sys
from schemas.errors import DataError
from schemas.stages import IngestRequest
from tasks import ingest
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    ingest.run(IngestRequest.model_validate_json(sys.argv[1]))
except DataError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def bomb(path: Path, *, use_dictionary: bool = True, **columns: pa.Array) -> Path:
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=1 << 26, use_dictionary=use_dictionary)
    return path


@pytest.mark.parametrize(
    ("text", "rows", "said"),
    [
        pytest.param(1 << 20, 200_000, "rows unpack to .* bytes of text", id="200-GB"),
        pytest.param(1 << 27, 3, "one row to 134,217,7", id="one-value"),
    ],
)
def test_17_text_that_unpacks_to_gigabytes_is_refused_in_little_memory(tmp_path, ingest_request, text, rows, said):
    words = pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), ["a" * text])
    path = bomb(tmp_path / "a.parquet", x=words, y=pa.repeat("no", rows))
    assert path.stat().st_size < 1_000_000
    request = ingest_request(path, columns={"x": {"kind": "one_hot"}})
    done = subprocess.run([sys.executable, "-c", PEAK, request.to_json()], capture_output=True, text=True, check=True)
    message, peak = done.stdout.splitlines()
    assert re.search(said, message)
    assert int(peak) < 700


def test_17_numbers_that_unpack_a_thousandfold_are_refused(tmp_path, ingest_request, refused):
    numbers = pa.array(np.zeros(40_000_000, np.int64))
    path = bomb(tmp_path / "a.parquet", use_dictionary=False, x=numbers, y=numbers)
    assert re.search(r"column 'x' would unpack from .* to 320,.* smaller row groups", refused(ingest_request(path)))


@pytest.fixture
def small_cap(monkeypatch):
    """Files of 300 values at most, or of one value in ten bytes."""
    monkeypatch.setattr(batch, "MAXIMUM_VALUES", 300)
    monkeypatch.setattr(batch, "MAXIMUM_VALUES_A_BYTE", 0.1)


def test_17_more_values_than_the_cap_are_refused(ingest_request, refused, frame, small_cap):
    frame = frame.assign(x=1, y=["no", "yes"] * 100)[["x", "y"]]
    assert "claims 400 values, and a file of its size may have 300" in refused(ingest_request(frame, name="a.parquet"))
    assert "a file of its size may have 300 values; split the file" in refused(ingest_request(frame, name="a.csv"))


def test_17_the_cap_grows_with_a_file_and_each_file_has_its_own(ingest_request, ingested, frame, small_cap, tmp_path):
    assert ingested(ingest_request(frame.assign(extra="long" * 10), name="a.csv"))[0].rows.read == 200
    (tmp_path / "parts").mkdir()
    for start in (0, 100):
        frame[start : start + 100].to_csv(tmp_path / "parts" / f"{start}.csv", index=False)
    assert ingested(ingest_request(tmp_path / "parts"))[0].rows.read == 200


def test_17_long_line_in_a_small_gzip_is_refused(ingest_request, refused):
    assert "a row is longer than 8 MiB" in refused(
        ingest_request(gzip.compress(b"x,y\n1," + b"a" * (1 << 26)), name="a.csv.gz")
    )


@pytest.mark.timeout(20)
def test_18_pipe_is_refused_at_once(tmp_path, ingest_request, refused):
    os.mkfifo(tmp_path / "pipe.csv")
    assert "pipe.csv is no regular file" in refused(ingest_request(tmp_path / "pipe.csv"))
    assert "pipe.csv is no regular file" in refused(ingest_request(tmp_path / "*.csv"))


def test_18_symbolic_link_is_refused_with_its_target(tmp_path, ingest_request, refused):
    (tmp_path / "good.csv").write_bytes(GOOD)
    (tmp_path / "link.csv").symlink_to("good.csv")
    assert re.search(
        "link.csv is a symbolic link; name the file .*good.csv", refused(ingest_request(tmp_path / "link.csv"))
    )


def test_18_missing_file_is_refused(tmp_path, ingest_request, refused):
    (tmp_path / "lost.csv").symlink_to("nowhere.csv")
    for path in (tmp_path / "none.csv", tmp_path / "lost.csv", tmp_path / "none*.csv"):
        assert f"no file at {path}; data.path takes" in refused(ingest_request(path))


def test_18_folder_is_a_data_set_without_its_hidden_files(tmp_path, ingest_request, ingested):
    for name in ("b.csv", "a/b.csv"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "data" / name).write_bytes(GOOD)
    for name in (".hidden.csv", "_SUCCESS", "a/.a.csv.crc"):
        (tmp_path / "data" / name).write_bytes(b"not a table")
    assert ingested(ingest_request(tmp_path / "data"))[0].rows.accepted == 120


@pytest.mark.parametrize("url", ["nothing://a.csv", "gs://bucket/a.csv"])
def test_unknown_protocol_is_an_error_of_the_spec(ingest_request, url):
    with pytest.raises(SpecError, match=f"data.path {url} cannot be opened"):
        ingest.run(ingest_request(url))


@pytest.mark.parametrize("change", ["same length", "longer", "another file"])
def test_19_input_that_changes_while_it_is_read_is_refused(tmp_path, ingest_request, refused, change):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "a.csv"
    path.write_bytes(GOOD)

    class Writer(logging.Handler):
        """Writes at the first sign of progress."""

        def emit(self, record):
            content = {"same length": GOOD.replace(b"9", b"8"), "longer": GOOD + b"1,no\n"}.get(change, GOOD)
            (path.with_name("b.csv") if change == "another file" else path).write_bytes(content)

    logger, writer = logging.getLogger("evermodel.ingest"), Writer()
    logger.setLevel(logging.INFO)
    logger.addHandler(writer)
    try:
        message = refused(ingest_request(tmp_path / "data"))
    finally:
        logger.removeHandler(writer)
    assert "changed while it was read; run again when its writer is done" in message
