"""What the device was asked for, each with the line of the package (or of a test) that asked."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from emulated.graphs import refuse

_HERE = str(Path(__file__).parent)
_SKIPPED = ("array_api_compat", "jaxtyping", "beartype", "<@beartype", f"{_HERE}", "/torch/")


@dataclass
class Counts:
    """Since the last :meth:`clear`: launches, synchronisations and uploads, by place.

    launches: kernels and array operations; synchronisations: the host waits for the device, copies
    from it included; uploads: host to device copies; contents: digests of what was uploaded where.
    """

    launches: Counter[str] = field(default_factory=Counter)
    synchronisations: Counter[str] = field(default_factory=Counter)
    uploads: Counter[str] = field(default_factory=Counter)
    contents: set[tuple[str, str]] = field(default_factory=set)

    def clear(self) -> None:
        for kind in (self.launches, self.synchronisations, self.uploads, self.contents):
            kind.clear()


class Counting:
    """The counts of the process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now = Counts()
        self.allocations = self.bytes_allocated = 0
        self._of_thread = threading.local()

    @property
    def in_chain(self) -> bool:
        """Whether this thread is inside a chain."""
        return getattr(self._of_thread, "in_chain", False)

    @contextmanager
    def chain(self) -> Iterator[None]:
        """What this thread does until the end is one launch of its own; other threads go on."""
        self._of_thread.in_chain = True
        try:
            yield
        finally:
            self._of_thread.in_chain = False

    def launch(self, what: str, number: int = 1) -> None:
        if self.in_chain:
            return
        with self.lock:
            self.now.launches[f"{place()} {what}"] += number

    def synchronise(self, what: str) -> None:
        self._refuse(what)
        with self.lock:
            self.now.synchronisations[f"{place()} {what}"] += 1

    def upload(self, content: bytes, what: str) -> None:
        self._refuse(f"upload of {what}")
        where = f"{place()} {what}"
        with self.lock:
            self.now.uploads[where] += 1
            self.now.contents.add((where, hashlib.sha1(content).hexdigest()))

    def allocate(self, size: int) -> None:
        with self.lock:
            self.allocations += 1
            self.bytes_allocated += size

    def _refuse(self, what: str) -> None:
        refuse(what)
        if self.in_chain:
            raise TypeError(f"no element-wise chain: {what}")

    @contextmanager
    def of(self) -> Iterator[Counts]:
        """Counts of a block alone."""
        before, self.now = self.now, Counts()
        try:
            yield self.now
        finally:
            self.now = before


counting = Counting()


def place() -> str:
    """File and line of the nearest caller outside of the stand-in and of compatibility layers."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if not any(part in name for part in _SKIPPED):
            parts = Path(name).parts
            start = parts.index("ipads_stream") if "ipads_stream" in parts else -2
            return f"{'/'.join(parts[start:])}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere:0"
