"""A sample of rows: the same whatever their order and batches, and uniform."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.row_keys import mix
from tasks.samples import Sample


def drawn(rows: np.ndarray, *, size: int, batch: int) -> list[int]:
    """The sampled ones of some numbers."""
    sample = Sample(size)
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        sample.add(pa.table({"row": part}), mix(part.astype(np.uint64)))
    return sample.rows.column("row").to_pylist()


@pytest.mark.parametrize("batch", [1, 13, 1_000])
@pytest.mark.parametrize("size", [1, 50, 999, 1_000, 5_000])
def test_sample_is_the_same_for_any_order_and_batch(size, batch):
    rows = np.arange(1_000)
    expected = rows[np.argsort(mix(rows.astype(np.uint64)))][:size].tolist()
    assert drawn(rows, size=size, batch=batch) == expected
    assert drawn(rows[::-1], size=size, batch=batch) == expected


def test_every_row_is_as_likely_as_any_other():
    counts, _ = np.histogram(drawn(np.arange(100_000), size=10_000, batch=5_000), bins=20)
    assert ((counts - 500) ** 2 / 500).sum() < 53  # chi-squared, 19 degrees of freedom: 1 in 20,000


def test_sample_keeps_the_first_of_equal_hashes_and_all_columns():
    sample = Sample(2)
    sample.add(pa.table({"row": [1, 2, 3], "word": ["a", None, "c"]}), np.array([5, 5, 5], np.uint64))
    sample.add(pa.table({"row": [4], "word": ["d"]}), np.array([5], np.uint64))
    assert sample.rows.to_pylist() == [{"row": 1, "word": "a"}, {"row": 2, "word": None}]


def test_sample_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no batch was added"):
        _ = Sample(3).rows
