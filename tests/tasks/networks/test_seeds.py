"""R8: the same seed gives the same network, whatever else the process does."""

import random
import threading

import numpy as np

from schemas.networks import Mlp
from tasks.encoders.table import Slot
from tasks.encoders.target import NumberTarget
from tasks.networks import mlp, seeds


def weights(seed: int) -> np.ndarray:
    slot = Slot(name="numbers", shape=(4,), columns=("a", "b", "c", "d"))
    with seeds.drawn_from(seed):
        network = mlp.build(Mlp(hidden=(8, 8)), [slot], NumberTarget(names=("y",), centers=(0.0,), scales=(1.0,)))
    return np.concatenate([weight.ravel() for weight in network.get_weights()])


def test_a_thread_that_draws_random_numbers_changes_no_weight():
    undisturbed = weights(3)
    over = threading.Event()

    def draw() -> None:
        while not over.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        assert all(np.array_equal(weights(3), undisturbed) for _ in range(3))
    finally:
        over.set()
        thread.join()


def test_another_seed_gives_other_weights_and_python_s_own_generator_is_left_alone():
    before = random.getstate()
    assert not np.array_equal(weights(1), weights(2))
    assert random.getstate() == before
