"""torchrun and its ranks in processes forked from one that has imported the package already."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from forked_command import forking

# Else a process that is started again may be given the address of one that is gone.
OWN_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}
# torchrun waits for what a function returns, which sys.exit(0) would not let it do.
PROGRAM = """
import sys
from ipads_stream.__main__ import main
if code := main():
    sys.exit(code)
"""
TWO_RANKS = ("--standalone", "--nproc-per-node=2")


class Torchrun:
    """``torchrun OPTIONS -m ipads_stream WORDS`` beside the test, what it prints in a file."""

    def __init__(self, words: Sequence[str], log: Path, options: Sequence[str] = TWO_RANKS) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        program = log.with_suffix(".py")
        program.write_text(PROGRAM)
        line = [*options, str(program), *words]
        self.log = log
        self.process = forking().Process(target=_torchrun, args=(line, dict(os.environ), log))
        self.process.start()

    def wait(self, timeout: float = 200) -> int | None:
        """Its exit code; None where it still runs."""
        self.process.join(timeout)
        return self.process.exitcode

    def ranks(self) -> list[int]:
        """Numbers of the processes that it has started to train."""
        number = self.process.pid
        text = Path(f"/proc/{number}/task/{number}/children").read_text()
        return [int(child) for child in text.split()]

    def lose(self) -> None:
        """Kills torchrun and its ranks, as where a node is lost."""
        if self.process.is_alive():
            for number in (self.process.pid, *self.ranks()):
                os.kill(number, signal.SIGKILL)
            self.process.join()


def _torchrun(line: list[str], environment: dict[str, str], log: Path) -> None:
    from torch.distributed.run import parse_args, run

    os.environ.clear()
    os.environ.update(environment | OWN_STORE)
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    run(parse_args(["--run-path", "--start-method=fork", *line]))
