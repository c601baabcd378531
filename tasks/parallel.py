"""Batches through threads: Arrow and NumPy let go of Python's lock while they work. Order stays, so do the bytes."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_END: Any = object()
_MOST = 8


def workers() -> int:
    """Return how many threads work at the same time: the cores this process may use, 8 at most for memory's sake."""
    return min(_MOST, len(os.sched_getaffinity(0)))


def in_order(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield the function of each item, in the order of the items; what it raises is raised when its turn comes.

    Items are taken by the caller's own thread, and no more are under way than there are workers.
    """
    pool, waiting = ThreadPoolExecutor(workers()), deque[Future[R]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= workers():
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items as they come, each made by a thread of its own while the one before it is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, iterator, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, iterator, _END)
            yield item


class Behind:
    """A thread that does one thing after the other while its owner goes on; at most one waits."""

    def __init__(self) -> None:
        """Start with nothing to do."""
        self._pool = ThreadPoolExecutor(1)
        self._last: Future[Any] | None = None

    def do(self, function: Callable[..., Any], *arguments: Any, **named: Any) -> None:
        """Have a function called; raises what the one before it raised."""
        self.wait()
        self._last = self._pool.submit(function, *arguments, **named)

    def wait(self) -> None:
        """Return when nothing is left to do; raises what the last one raised."""
        if self._last is not None:
            self._last.result()

    def end(self) -> None:
        """Let the thread end."""
        self._pool.shutdown()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait, unless something else went wrong already, and let the thread end."""
        try:
            if kind is None:
                self.wait()
        finally:
            self.end()
