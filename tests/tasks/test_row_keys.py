"""Hashes that name rows: pinned, since a row would change its split if they changed."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.row_keys import SeenKeys, fractions, mix, row_hashes

UTC = pa.timestamp("us", tz="UTC")
TABLE = pa.table(
    {
        "text": pa.array(["a", "é", None, ""]),
        "number": pa.array([0.0, 1.5, None, -2.0]),
        "flag": pa.array([True, False, None, True]),
        "time": pa.array([0, 10**15, None, -1], UTC),
        "tensor": pa.array([[1, 2], [3, 4], None, [0, 0]], pa.list_(pa.float32(), 2)),
        "labels": pa.array([["a", "b"], [], None, ["x"]]),
    }
)
PINNED = {
    "text": [0x3C1B27A4A03EF5DA, 0x2FB62BBECF92629D, 0, 0x8FD60E1CFECB477E],
    "number": [0, 0xE72B41D4576E3468, 0x469BF2DCC1AA179B, 0x9216E87CEF427FDB],
    "flag": [0x2A20CD80798DAE26, 0, 0x469BF2DCC1AA179B, 0x2A20CD80798DAE26],
    "time": [0, 0xECF185F7B39C6A9D, 0x469BF2DCC1AA179B, 0x460496B06C9F8487],
    "tensor": [0x23A32913960D49F8, 0x6A01BBD129AE1C92, 0, 0],
    "labels": [0x50A9CD5DA17AD29D, 0x8FD60E1CFECB477E, 0, 0x3E04035ACBC2EF0E],
}


@pytest.mark.parametrize("name", PINNED)
def test_hashes_are_those_of_earlier_versions(name):
    assert row_hashes(TABLE.select([name])).tolist() == PINNED[name]


def test_hash_of_a_row_depends_on_all_its_columns_and_their_order():
    whole = [0xB649C2E8C774C2A0, 0x7B459553A1BF1F6A, 0x18F204BEFF803276, 0x27F9A092E857A1FC]
    assert row_hashes(TABLE).tolist() == whole
    assert (row_hashes(TABLE.select(TABLE.column_names[::-1])) != whole).all()
    pairs = pa.table({"a": ["x", "xy", ""], "b": ["yz", "z", "xyz"]})
    assert len(set(row_hashes(pairs).tolist())) == 3


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_hash_does_not_depend_on_the_batch(batch):
    parts = [row_hashes(TABLE.slice(start, batch)) for start in range(0, 4, batch)]
    assert np.concatenate(parts).tolist() == row_hashes(TABLE).tolist()
    assert row_hashes(pa.concat_tables([TABLE, TABLE])).tolist() == row_hashes(TABLE).tolist() * 2


def test_zero_is_zero_whatever_its_sign():
    assert len(set(row_hashes(pa.table({"x": [0.0, -0.0]})).tolist())) == 1


def test_hash_of_no_rows_and_of_no_columns():
    assert row_hashes(TABLE.slice(0, 0)).tolist() == []
    assert row_hashes(TABLE.select([])).tolist() == [0] * 4


def test_mix_is_splitmix64():
    assert mix(np.array([0, 1, 2**63], np.uint64)).tolist() == [0, 0x5692161D100B05E5, 0x25C26EA579CEA98A]


@pytest.mark.parametrize("keys", [np.arange(100_000), np.arange(100_000) * 1000, np.arange(100_000) / 7])
def test_fractions_are_uniform_and_differ_by_seed(keys):
    hashes = row_hashes(pa.table({"key": pa.array(keys)}))
    first, second = fractions(hashes, seed=0), fractions(hashes, seed=1)
    for found in (first, second):
        counts, _ = np.histogram(found, bins=100, range=(0, 1))
        assert ((counts - 1_000) ** 2 / 1_000).sum() < 160  # chi-squared, 99 degrees of freedom: 1 in 10,000
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.015
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < 0.015


def test_fractions_are_those_of_earlier_versions():
    hashes = np.array([0, 1, 2**63], np.uint64)
    assert fractions(hashes, seed=0).tolist() == [0.8833108082136426, 0.5665615751722809, 0.2817192454992108]
    assert fractions(hashes, seed=7).tolist()[0] == 0.771546556331567
    assert 0 <= fractions(hashes, seed=-(2**70)).min() <= fractions(hashes, seed=2**70).max() < 1


@pytest.mark.parametrize("size", [1, 7, 64, 1_000])
def test_seen_keys_know_every_key_that_came_before(size):
    keys = np.random.default_rng(size).integers(0, 3_000, 5_000).astype(np.uint64)
    seen = SeenKeys()
    found = np.concatenate([seen.add(keys[start : start + size]) for start in range(0, 5_000, size)])
    _, first = np.unique(keys, return_index=True)
    assert np.flatnonzero(~found).tolist() == sorted(first.tolist())


def test_seen_keys_take_no_keys_and_the_largest_one():
    seen = SeenKeys()
    assert seen.add(np.zeros(0, np.uint64)).tolist() == []
    assert seen.add(np.array([2**64 - 1, 0, 2**64 - 1], np.uint64)).tolist() == [False, False, True]
    assert seen.add(np.array([5, 2**64 - 1], np.uint64)).tolist() == [False, True]
