"""Threads: the order stays, errors come in their turn, and what is published does not depend on how many there are."""

import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from schemas.stages import EncodeRequest
from tasks import encode, ingest
from tasks.parallel import Behind, ahead, in_order, workers
from tasks.tables import TableWriter


@pytest.fixture(params=[1, 2, 5])
def cores(request, monkeypatch) -> int:
    """As many cores as the system would say."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(request.param)))
    return request.param


def slow_when_even(number: int) -> int:
    time.sleep(0.01 * (number % 2 == 0))
    return number


def test_results_come_in_the_order_of_the_items(cores):
    assert list(in_order(slow_when_even, range(20))) == list(range(20))
    assert list(ahead(map(slow_when_even, range(20)))) == list(range(20))
    assert list(in_order(slow_when_even, [])) == list(ahead([])) == []


def test_error_comes_after_the_results_before_it(cores):
    seen = []
    with pytest.raises(ZeroDivisionError):
        for result in in_order(lambda number: 6 // number, [1, 2, 3, 0, 6]):
            seen.append(result)
    assert seen == [6, 3, 2]


def test_error_of_an_iterator_comes_after_its_items():
    seen = []
    with pytest.raises(ZeroDivisionError):
        for result in ahead(6 // number for number in [1, 2, 0]):
            seen.append(result)
    assert seen == [6, 3]


def test_no_more_is_under_way_than_there_are_workers(cores):
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    for done, _ in enumerate(in_order(slow_when_even, items())):
        assert len(taken) - done <= workers()


def test_threads_end_when_the_results_are_no_longer_wanted():
    before = threading.active_count()
    results = in_order(slow_when_even, ahead(range(100)))
    next(results)
    results.close()
    del results
    assert threading.active_count() == before


def test_what_goes_wrong_behind_is_raised_by_the_next_or_in_the_end():
    behind = Behind()
    behind.do(int, "1")
    behind.do(int, "one")
    with pytest.raises(ValueError, match="invalid literal"):
        behind.wait()
    behind.end()


def test_disk_that_is_full_fails_the_writer_and_leaves_no_thread(tmp_path):
    before = threading.active_count()
    schema = pa.schema([("x", pa.float64())])
    with pytest.raises(OSError, match="No space left"), TableWriter(Path("/dev/full"), schema) as writer:
        writer.write(pa.table({"x": np.random.default_rng(0).normal(size=500_000)}))
    assert threading.active_count() == before


def test_published_files_are_the_same_for_any_number_of_threads(ingest_request, monkeypatch):
    """Many small batches, some rows of which are rejected."""
    monkeypatch.setattr("tasks.sources.columnar._BATCH_ROWS", 97)
    monkeypatch.setattr("tasks.tables.ROW_GROUP_ROWS", 500)
    monkeypatch.setattr("tasks.encode.ROW_GROUP_ROWS", 101)
    random = np.random.default_rng(0)
    x = random.normal(size=3000)
    frame = pd.DataFrame({"id": range(3000), "x": x, "shop": random.choice(list("abcdef"), 3000), "y": x > 0})
    frame = frame.assign(x=frame.x.mask(frame.id % 500 == 7, 99), y=frame.y.map({True: "yes", False: "no"}))
    columns = {"x": {"kind": "numeric", "maximum": 9}, "shop": {"kind": "target_mean"}}
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr("os.sched_getaffinity", lambda _process, count=count: set(range(count)))
        request = ingest_request(frame, name="rows.parquet", data={"key": ["id"]}, columns=columns)
        request = request.model_copy(update={"workspace": f"{request.workspace}-{count}"})
        ingested = ingest.run(request)
        encoded = encode.run(EncodeRequest(workspace=request.workspace, ingest=ingested.as_input))
        found.append((ingested.files, ingested.rows, encoded.files))
    assert found[0] == found[1] == found[2]
    assert found[0][1].rejected == 6
