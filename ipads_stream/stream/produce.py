"""Producing batches ahead of the consumer, in order, in bounded number."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def produce(
    make: Callable[[int], Item], start: int, *, threads: int, depth: int
) -> Generator[tuple[Item, int], None, None]:
    """Yields ``make(start), make(start + 1), ...`` and the number of items that lay ready.

    At most ``depth`` items are made ahead.

    Threads rather than processes: the simulators release the interpreter lock, nothing is pickled
    or copied, and CUDA survives. With ``threads=0`` each item is made when it is asked for. An
    exception in ``make`` is raised at its place in the order; closing the iterator waits for the
    items in the making and drops the rest.

    Args:
        make: item number -> item; called from several threads at once if ``threads > 1``.
        start: first item number.
        threads: number of producing threads.
        depth: items made or in the making before the consumer asks.
    """
    number = start
    if threads == 0:
        while True:
            yield make(number), 0
            number += 1
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ipads-producer")
    ahead: deque[Future[Item]] = deque()
    try:
        while True:
            while len(ahead) < depth:
                ahead.append(pool.submit(make, number))
                number += 1
            ready = sum(item.done() for item in ahead)
            yield ahead.popleft().result(), ready
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
