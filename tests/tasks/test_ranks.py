"""Numbers at ranks, of more than memory holds."""

import numpy as np
import pytest

from tasks import ranks
from tasks.ranks import Ranks

RANDOM = np.random.default_rng(0)
FAR = np.iinfo(np.int64)
EDGES = np.array([FAR.min, -1, 0, 0, 1, FAR.max, 1 << 16, (1 << 16) - 1, 1 << 32])


@pytest.mark.parametrize(
    "numbers",
    [
        EDGES,
        np.zeros(1, int),
        RANDOM.integers(FAR.min, FAR.max, 5000),
        1_700_000_000_000_000 + RANDOM.integers(50, size=999),
    ],
    ids=["edges", "one", "spread", "alike"],
)
def test_numbers_at_ranks_are_those_of_the_sorted_array(tmp_path, monkeypatch, numbers):
    monkeypatch.setattr(ranks, "_AT_ONCE", 1000)
    places = [0, len(numbers) // 3, len(numbers) // 3, len(numbers) * 2 // 3, len(numbers) - 1]
    with Ranks(tmp_path) as kept:
        for batch in np.array_split(numbers, 4):
            kept.add(batch)
        assert len(kept) == len(numbers)
        assert kept.at(places).tolist() == np.sort(numbers)[places].tolist()
