"""Matrix products of one thread each while batches are made."""

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.RLock()  # an iterator may be collected, and end its block, in another's
if hasattr(os, "register_at_fork"):  # else a forked child waits for a thread that it has not
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
# For each block that is open the libraries that it limited, with their threads: the first all.
_limits: list[list[tuple[Any, int]]] = []


@contextlib.contextmanager
def single_blas() -> Iterator[None]:
    """BLAS uses one thread within all such blocks, and as many as before after the last of them.

    So no sample depends on the number of processors. And the threads of BLAS wait for one another
    by spinning: two producers with two such threads each, on two processors that had other work
    too, took 1.3 to 6 times as long per batch (OLED, QSMnet, DeepSPIO).
    """
    with _lock:
        counts = [] if _limits else [(library, library.num_threads) for library in _libraries()]
        _limits.append([(library, count) for library, count in counts if count != 1])
        for library, _ in _limits[-1]:
            library.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            if len(_limits) == 1:
                for library, count in _limits[0]:
                    library.set_num_threads(count)
            _limits.pop()


@cache  # to find them takes thirty times as long as to set them
def _libraries() -> list[Any]:
    controllers: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return controllers
