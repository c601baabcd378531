"""The seeds that Keras gives to layers and initialisers without one."""

import contextlib
import random
from collections.abc import Iterator

from keras.src.random import seed_generator


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let Keras draw default seeds from a generator of their own, so that the same seed gives the same network.

    `keras.utils.set_random_seed` seeds Python's global generator, from which any other thread draws, too: those of
    Prefect do while a network is built.
    """
    before, seed_generator.python_random = seed_generator.python_random, random.Random(seed)  # noqa: S311 - no secret
    try:
        yield
    finally:
        seed_generator.python_random = before
