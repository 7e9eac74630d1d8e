"""The passes of an iterative method: their number, history, stop rule and progress bar."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm


class Passes:
    """Counts passes, and keeps what is recorded of each in ``history``, by name.

        for _ in (passes := Passes(60)):
            ...
            passes.record(changes=change)
            passes.is_done = change < 1e-6

    most: number of passes; bar: advanced by ``share`` after each; solvers may have it in common.
    """

    def __init__(self, most: int, bar: tqdm | None = None, share: int = 1) -> None:
        self.most, self.bar, self.share, self.is_done = most, bar, share, False
        self.history: defaultdict[str, list[Any]] = defaultdict(list)

    def __iter__(self) -> Iterator[int]:
        for number in range(self.most):
            yield number
            if self.bar is not None:
                self.bar.update(self.share)
            if self.is_done:
                return

    def record(self, **values: Any) -> None:
        """Keeps values of this pass."""
        for name, value in values.items():
            self.history[name].append(value)
