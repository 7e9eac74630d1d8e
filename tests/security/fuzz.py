"""Random command lines, run in processes forked from one that has imported everything.

    python tests/security/fuzz.py COUNT [SEED [START]]

prints each line that ends in a traceback, a wrong exit code, more than 20 s of the processor or
2 GB, and what was the matter; the lines are those of ``fuzz_lines.py``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import itertools
import os
import pickle
import pkgutil
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fuzz_lines import Line, lines, sound_lines

SECONDS, BYTES = 20, 2 << 30
BLOCK = 40  # lines of a child: forking takes longer than most lines
COMPILING = 300  # s, where the cache of compiled kernels is empty
LAZY = ("h5py", "hydra", "lightning", "matplotlib.pyplot", "nibabel", "nmrglue", "pooch")
WAIT = 600  # s of the clock, on a busy machine: then a line waits for ever


class TooLong(BaseException):
    """Not an Exception: nothing may take it for a wrong value."""


def fault(words: Sequence[str], seconds: float = SECONDS) -> str | None:
    """What is wrong with how a line ends; None: nothing."""
    from ipads_stream.__main__ import main

    def stop(*_: Any) -> None:
        raise TooLong

    said = io.StringIO()
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            code = main(words)
    except TooLong:
        return f"longer than {seconds} s\n{traceback.format_exc(limit=-4)}"
    except BaseException:
        return traceback.format_exc(limit=-4)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    lines_said = [line for line in said.getvalue().splitlines() if line.startswith("ipads-stream:")]
    if code not in (0, 1, 2) or (code == 2 and len(lines_said) != 1 and words):
        return f"exit code {code}, {said.getvalue()[-300:]!r}"
    if "Traceback" in said.getvalue():
        return said.getvalue()[-1500:]
    return None


def run(seed: int, count: int, start: int = 0) -> Iterator[tuple[int, Line, str]]:
    """Lines that end wrongly, with their numbers and what is wrong; each in an empty folder."""
    _import_everything()
    rest = itertools.islice(enumerate(lines(seed, count)), start, None)
    todo: list[tuple[int, Line]] = []
    while todo := todo + list(itertools.islice(rest, BLOCK - len(todo))):
        done, found = _block(todo)
        yield from found
        todo = todo[done:]


def _import_everything() -> None:
    """And let every system train a step: what that compiles, its forks have."""
    import ipads_stream
    from ipads_stream.stream import bench

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(ipads_stream.__path__, "ipads_stream."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        for name in LAZY:
            importlib.import_module(name)
    bench.STORED = 8  # of a system of volumes, 4,096 samples take minutes
    with tempfile.TemporaryDirectory() as folder:
        for number, line in enumerate(sound_lines()):
            with _folder(Path(folder) / str(number), line):
                wrong = fault(line.words, COMPILING)
                if wrong:
                    raise RuntimeError(f"{line.words}: {wrong}")
    gc.collect()
    gc.freeze()


def _block(todo: Sequence[tuple[int, Line]]) -> tuple[int, list[tuple[int, Line, str]]]:
    """Runs lines in one fork until one is wrong: how many ran, and the wrong one, if any."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as answers:
            _answer(todo, answers)
        os._exit(0)
    os.close(writing)
    answers, wrong = [], None
    with os.fdopen(reading, "rb") as results:
        while len(answers) < len(todo):
            if not select.select([results], [], [], WAIT)[0]:
                wrong = f"nothing within {WAIT} s"
                break
            try:
                answers.append(pickle.load(results))
            except EOFError:
                break
            if answers[-1]:
                wrong = answers.pop()
                break
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if len(answers) == len(todo):
        return len(todo), []
    number, line = todo[len(answers)]
    return len(answers) + 1, [(number, line, wrong or f"the process ends with status {status}")]


def _answer(todo: Sequence[tuple[int, Line]], answers: Any) -> None:
    quiet = os.open(os.devnull, os.O_RDWR)
    for place in (0, 1, 2):
        os.dup2(quiet, place)
    base = _peak()
    for number, line in todo:
        # What waits in native code past the soft limit of Python is ended by the system.
        used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
        resource.setrlimit(resource.RLIMIT_CPU, (used + 2 * SECONDS, resource.RLIM_INFINITY))
        folder = Path(tempfile.mkdtemp(prefix=f"line{number}-"))
        with _folder(folder / "a", line):  # "../x" is in the folder, too
            wrong = fault(line.words)
        shutil.rmtree(folder, ignore_errors=True)
        if wrong is None and _peak() - base > BYTES:
            wrong = f"{(_peak() - base) / 1e9:.1f} GB"
        pickle.dump(wrong, answers)


@contextlib.contextmanager
def _folder(place: Path, line: Line) -> Iterator[None]:
    """Inside the block the working directory is a new one with the files of a line."""
    place.mkdir()
    for name, content in line.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    with contextlib.chdir(place):
        yield


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    seed, start = (int(x) for x in (*sys.argv[2:4], 0, 0)[:2])
    began, count = time.time(), 0
    for number, line, wrong in run(seed, int(sys.argv[1]), start):
        words = " ".join(map(repr, line.words))
        sys.stdout.write(f"{number}: ipads-stream {words} {line.files}\n{wrong}\n\n")
        sys.stdout.flush()
        count += 1
    took = time.time() - began
    sys.stdout.write(f"{count} faults in {int(sys.argv[1]) - start} lines, {took:.0f} s\n")
