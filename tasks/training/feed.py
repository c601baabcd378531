"""The rows of an epoch on the device, in the order of that epoch: all of them at once, or pool after pool.

Rows on disk lie in blocks of consecutive rows. An epoch draws an order of blocks, takes as many of them as make a pool,
and shuffles the rows of a pool among each other. The draw depends on (seed, epoch) and on the rows' size alone, so that
it does not matter for the outcome where the rows are; a table that makes one pool is shuffled as a whole. Where memory
does not hold some pools, each comes in parts, in that same order.
"""

import itertools
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from schemas.errors import SpecError
from tasks import features
from tasks.encoders.base import Array, Floats

_POOL_BYTES = 128 << 20
_BLOCK_ROWS = 1024
_POOLS_AT_ONCE = 3
"""One that is trained from, one that waits on the device, and one that is read."""
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Examples:
    """What a network learns from or is judged by.

    `inputs` are arrays of shape (n, ...) by input name, in memory or mapped from disk; `target` is of shape (n,) or
    (n, units), and `weight` of shape (n,), or (n, units) where each output has a weight of its own.
    """

    inputs: Mapping[str, Array]
    target: Array
    weight: Floats

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.target)

    @property
    def arrays(self) -> tuple[dict[str, Array], Array, Floats]:
        """All arrays, as a structure."""
        return dict(self.inputs), self.target, self.weight


def joined(first: Examples, second: Examples, *, disk: Path) -> Examples:
    """Return the examples of both; what is mapped from files is joined in files in `disk`."""
    numbers = itertools.count()

    def of(*parts: Array) -> Array:
        starts = ((part, start) for part in parts for start in range(0, len(part), _ROWS_AT_ONCE))
        pieces = (part[start : start + _ROWS_AT_ONCE] for part, start in starts)
        return _written(pieces, sum(map(len, parts)), like=parts[0], path=disk / f"joined.{next(numbers)}")

    return Examples(*tf.nest.map_structure(of, first.arrays, second.arrays))


def taken(examples: Examples, rows: Array, *, disk: Path) -> Examples:
    """Return some of the examples, by their positions; what is mapped from files is so from new ones in `disk`."""
    numbers, starts = itertools.count(), range(0, len(rows), _ROWS_AT_ONCE)

    def of(values: Array) -> Array:
        pieces = (values[rows[start : start + _ROWS_AT_ONCE]] for start in starts)
        return _written(pieces, len(rows), like=values, path=disk / f"taken.{next(numbers)}")

    return Examples(*tf.nest.map_structure(of, examples.arrays))


def _written(pieces: Iterable[Array], rows: int, *, like: Array, path: Path) -> Array:
    """Return pieces of so many rows as one array, in memory or mapped from a file as the one that they are of."""
    shape, at = (rows, *like.shape[1:]), 0
    if isinstance(like, np.memmap):
        with path.open("wb") as out:
            for piece in pieces:
                out.write(np.ascontiguousarray(piece).data)
                let_go(piece)
                let_go(like)
        return features.mapped(path, like.dtype, shape)
    whole = features.aligned(shape, like.dtype)
    for piece in pieces:
        whole[at : at + len(piece)] = piece
        at += len(piece)
    return whole


def let_go(values: Array) -> None:
    """Give back the memory of a mapped file's pages; they stay in the system's cache as long as it has room."""
    pages: Any = getattr(values, "_mmap", None)  # of a part, too
    if pages is not None:
        pages.madvise(mmap.MADV_DONTNEED)


def placed(strategy: tf.distribute.Strategy, device: str, arrays: Any) -> Any:
    """Return arrays as tensors on a device; of several devices, on each of them.

    On a CPU one that is `features.aligned` is not copied, and may not change any more.
    """
    if strategy.num_replicas_in_sync == 1:
        with tf.device(device):
            return tf.nest.map_structure(_tensor if "CPU" in device else tf.constant, arrays)
    places = strategy.extended.worker_devices

    def copies(values: Array) -> Any:
        def copy(context: tf.distribute.ReplicaContext) -> tf.Tensor:
            with tf.device(places[context.replica_id_in_sync_group]):
                return tf.constant(values)

        return strategy.experimental_distribute_values_from_function(copy)

    return tf.nest.map_structure(copies, arrays)


def _tensor(values: Array) -> tf.Tensor:
    flags = values.flags
    if values.size and flags.c_contiguous and flags.writeable and values.ctypes.data % features.ALIGNED_BYTES == 0:
        return tf.experimental.dlpack.from_dlpack(values.__dlpack__())
    return tf.constant(values)


@dataclass(frozen=True)
class Pool:
    """Rows on the device: tensors as `Examples.arrays`, and the order to go through them, of which `rows` count."""

    data: Any
    order: Array
    rows: int
    last: bool
    """Whether it is an epoch's last."""


@dataclass(frozen=True)
class Part:
    """Rows of an epoch as they lie on disk, and the order to take them in: that of positions in `rows`."""

    rows: Array
    order: Array
    last: bool

    def part(self, start: int, stop: int) -> "Part":
        """Return what comes from the one to before the other place in the order."""
        if start == 0 and stop >= len(self.rows):
            return self
        chosen = self.order[start:stop]
        places = np.argsort(chosen)
        order = np.empty_like(places)
        order[places] = np.arange(len(places))
        return Part(self.rows[chosen[places]], order, last=self.last and stop >= len(self.rows))


Parts = Iterator[Part]


class Feed:
    """Gives the rows of each epoch."""

    def __init__(
        self,
        examples: Examples,
        *,
        batch_size: int,
        seed: int,
        budget_bytes: int,
        place: Callable[[Any], Any],
        epochs: int = 1,
    ) -> None:
        """Put the examples on the device by `place` if the budget holds them.

        There are at most so many `epochs`. `place` is not to refer to who has this feed: rows shall go when they do.
        Raises SpecError when the budget does not even hold some batches.
        """
        row_bytes = sum(values.nbytes for values in tf.nest.flatten(examples.arrays)) // len(examples)
        self._examples, self._seed, self._place, self._epochs = examples, seed, place, epochs
        self._row_bytes, self._budget_bytes = row_bytes, budget_bytes
        self._block = batch_size * -(-_BLOCK_ROWS // batch_size)  # a pool of whole blocks has no batch cut short
        blocks_a_pool = max(1, _POOL_BYTES // (row_bytes * self._block))
        self._pools = -(-len(examples) // (blocks_a_pool * self._block))
        self._rows_at_once = min(len(examples), blocks_a_pool * self._block)
        self.streams = row_bytes * len(examples) > budget_bytes
        if self.streams:
            self._rows_at_once = self._rows_of_a_part(batch_size, row_bytes, budget_bytes)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._begun: tuple[int, Parts, Future[Pool]] | None = None
        self._resident = None if self.streams else place(examples.arrays)

    def _rows_of_a_part(self, batch_size: int, row_bytes: int, budget_bytes: int) -> int:
        """Return into how many rows pools are cut, so that as many as are in memory at once fit the budget."""
        batches = -(-self._rows_at_once // batch_size)
        if not (most := budget_bytes // (_POOLS_AT_ONCE * batch_size * row_bytes)):
            needed = -(-min(_POOLS_AT_ONCE * batch_size, len(self._examples)) * row_bytes >> 20)
            raise SpecError(
                f"training may hold {budget_bytes >> 20} MiB of rows in memory, and at batch_size {batch_size} it has "
                f"to hold {needed}: set training.memory_mb to {needed} or more, or lower training.batch_size"
            )
        parts = -(-batches // most)
        return min(self._rows_at_once, -(-batches // parts) * batch_size)

    def has_room(self, rows: int) -> bool:
        """Say whether the budget holds so many other rows on the device beside these, all of which are there."""
        return not self.streams and self._row_bytes * (len(self._examples) + rows) <= self._budget_bytes

    def pools(self, epoch: int) -> Iterator[Pool]:
        """Yield the pools of an epoch, or their parts.

        While one is trained from, the next is read; while it is the last, the first one of the epoch after this.
        """
        if self._resident is not None:
            for part in self._orders(epoch):
                yield Pool(self._resident, self._filled(part.rows[part.order]), len(part.rows), part.last)
            return
        begun, self._begun = self._begun, None
        parts, waiting = begun[1:] if begun and begun[0] == epoch else self._begin(self._parts(epoch))
        last = False
        while not last:
            pool = waiting.result()
            last = pool.last
            if goes_on := not last or epoch < self._epochs:
                parts, waiting = self._begin(parts)
            yield pool
            del pool  # its memory is the next one's
        if goes_on:
            self._begun = epoch + 1, parts, waiting

    def _begin(self, parts: Parts) -> tuple[Parts, Future[Pool]]:
        """Let the next part be read."""
        return parts, self._reader.submit(self._read, parts)

    def _parts(self, first: int) -> Parts:
        """Yield what is in memory at a time, from an epoch on."""
        for epoch in itertools.count(first):
            for pool in self._orders(epoch):
                for start in range(0, len(pool.rows), self._rows_at_once):
                    yield pool.part(start, start + self._rows_at_once)

    def _orders(self, epoch: int) -> Parts:
        """Yield each pool of an epoch."""
        random = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        total = len(self._examples)
        if self._pools == 1:
            yield Part(np.arange(total), random.permutation(total), last=True)
            return
        blocks = np.array_split(random.permutation(total // self._block), self._pools)
        for index, chosen in enumerate(blocks, start=1):
            rows = (chosen[:, None] * self._block + np.arange(self._block)).reshape(-1)
            if index == self._pools:  # what is left over makes the epoch's last batches
                rows = np.concatenate([rows, np.arange(total // self._block * self._block, total)])
            yield Part(rows, random.permutation(len(rows)), last=index == self._pools)

    def _read(self, parts: Parts) -> Pool:
        """Return the next rows as a pool; all pools have the same shape, so that one graph takes them."""
        part = next(parts)
        arrays = tf.nest.map_structure(lambda values: self._gathered(values, part.rows), self._examples.arrays)
        return Pool(self._place(arrays), self._filled(part.order), len(part.rows), part.last)

    def _gathered(self, values: Array, rows: Array) -> Array:
        """Return some rows, and behind them what nobody looks at."""
        gathered = features.aligned((self._rows_at_once, *values.shape[1:]), values.dtype)
        np.take(values, rows, axis=0, out=gathered[: len(rows)], mode="clip")  # others than clip buffer
        let_go(values)
        return gathered

    def _filled(self, order: Array) -> Array:
        return np.resize(order, self._rows_at_once).astype(np.int32)
