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
_limits: list[Any] = []  # one of the whole process for each block that is open, the first in force


@contextlib.contextmanager
def single_blas() -> Iterator[None]:
    """BLAS uses one thread within all such blocks, and as many as before after the last of them.

    So no sample depends on the number of processors. And the threads of BLAS wait for one another
    by spinning: two producers with two such threads each, on two processors that had other work
    too, took 1.3 to 6 times as long per batch (OLED, QSMnet, DeepSPIO).
    """
    with _lock:
        limit = None if _limits else _libraries().limit(limits=1, user_api="blas")
        _limits.append(limit)
    try:
        yield
    finally:
        with _lock:
            if len(_limits) == 1:
                _limits[0].restore_original_limits()
            _limits.pop()


@cache  # to find them takes thirty times as long as to set them
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
