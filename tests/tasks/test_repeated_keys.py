import numpy as np
import pyarrow as pa
import pytest

from tasks.repeated_keys import FirstPass, OnePass, SecondPass
from tasks.row_keys import row_hashes


def batches(numbers, size):
    for start in range(0, len(numbers), size):
        keys = pa.table({"key": pa.array(map(str, numbers[start : start + size].tolist()))})
        yield row_hashes(keys), keys


def found(repeated, numbers, size):
    return np.concatenate([repeated.repeated(*batch) for batch in batches(numbers, size)])


@pytest.mark.parametrize("most", [0, 100, 2_500, 10_000])
@pytest.mark.parametrize("size", [37, 5_000])
def test_two_passes_find_what_one_finds_whatever_stays_in_memory(tmp_path, most, size):
    numbers = np.random.default_rng(0).integers(0, 3_000, 5_000)
    expected = found(OnePass(), numbers, size)
    first = FirstPass(tmp_path, most=most)
    at_once = found(first, numbers, size)
    suspects = first.suspects()
    assert not (at_once & ~expected).any()
    assert (found(SecondPass(suspects), numbers, size) if len(suspects) else at_once).tolist() == expected.tolist()


@pytest.mark.parametrize("numbers", [np.arange(5_000), np.zeros(0, int)])
def test_keys_that_do_not_repeat_need_no_second_pass(tmp_path, numbers):
    first = FirstPass(tmp_path, most=100)
    assert not found(first, numbers, 37).any() if len(numbers) else True
    assert first.suspects().tolist() == []


def test_different_keys_with_one_hash_are_told_apart():
    keys = pa.table({"a": ["x", "y", "x"], "b": ["1", "1", "1"]})
    hashes = np.full(3, 7, np.uint64)
    assert SecondPass(hashes[:1]).repeated(hashes, keys).tolist() == [False, False, True]


def test_rows_whose_hash_does_not_repeat_are_no_suspects():
    keys = pa.table({"a": ["x", "x"]})
    assert SecondPass(np.array([7], np.uint64)).repeated(np.array([8, 8], np.uint64), keys).tolist() == [False, False]
