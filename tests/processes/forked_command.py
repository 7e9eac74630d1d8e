"""The command line in a process forked from one that has imported the package already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

# What studies run their tasks in has the first two; all tests share one such process.
IMPORTED = ["ipads_stream.shift.run", "ipads_stream.train.supervised", "torch.distributed.run"]


def forking() -> Any:
    """Processes that need not import what takes 10 s."""
    context = get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    return context


class Command:
    """A run of ``ipads-stream WORDS``, used as a ``subprocess.Popen`` is; its files in a folder."""

    def __init__(self, words: list[str], folder: Path, cwd: Path | None = None) -> None:
        self.error = Path(folder) / f"error {len(list(Path(folder).glob('error *')))}.txt"
        arguments = (words, str(self.error), dict(os.environ), str(cwd or Path.cwd()))
        self.process = forking().Process(target=_main, args=arguments)
        self.process.start()

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def poll(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Nothing, and what was printed."""
        if not connection.wait([self.process.sentinel], timeout):
            self.process.kill()
            raise subprocess.TimeoutExpired("ipads-stream", timeout)
        self.process.join()
        return "", self.error.read_text()


def _main(words: list[str], error: str, environment: dict, cwd: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(error).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout = sys.stderr = os.fdopen(2, "w", closefd=False)
    from ipads_stream.__main__ import main

    sys.exit(main(words))
