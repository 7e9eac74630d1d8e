"""The command line in a process forked from one that has imported the package already."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from multiprocessing import connection, get_context
from pathlib import Path


class Command:
    """A process that is used as a ``subprocess.Popen`` is, without 10 s of imports."""

    def __init__(self, words, folder):
        context = get_context("forkserver")
        context.set_forkserver_preload(["ipads_stream.config", "ipads_stream.train.supervised"])
        self.error = Path(folder) / f"error {len(list(Path(folder).glob('error *')))}.txt"
        arguments = (words, str(self.error), dict(os.environ))
        self.process = context.Process(target=_main, args=arguments)
        self.process.start()

    def poll(self):
        return self.process.exitcode

    @property
    def returncode(self):
        return self.process.exitcode

    def send_signal(self, number):
        os.kill(self.process.pid, number)

    def communicate(self, timeout=300):
        """What was printed, and what was said to be wrong."""
        if not connection.wait([self.process.sentinel], timeout):
            self.process.kill()
            raise subprocess.TimeoutExpired("ipads-stream", timeout)
        self.process.join()
        return "", self.error.read_text()


def _main(words, error, environment):
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Path(error).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(2, "w", closefd=False)
        from ipads_stream.__main__ import main

        sys.exit(main(words))
