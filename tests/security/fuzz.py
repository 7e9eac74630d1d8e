"""Random command lines, run in processes forked from one that has imported everything.

    python tests/security/fuzz.py COUNT [SEED [START [FILE]]]

prints each line that ends in a traceback, a wrong exit code, more than 20 s of the processor or
2 GB, and what was the matter; the lines are those of ``fuzz_lines.py``. How many of each verb ended
with which exit code is added to FILE, if one is named, as a piece with the commit.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import itertools
import json
import os
import pickle
import pkgutil
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fuzz_hydra
from fuzz_lines import Line, lines, sound_lines

SECONDS, BYTES = 20, 2 << 30
BLOCK = 200  # lines of a child: forking takes longer than most lines
COMPILING = 300  # s, where the cache of compiled kernels is empty
LAZY = ("h5py", "hydra", "lightning", "matplotlib.pyplot", "nibabel", "nmrglue", "pooch")
WAIT = 600  # s of the clock, on a busy machine: then a line waits for ever


class TooLong(BaseException):
    """Not an Exception: nothing may take it for a wrong value."""


@dataclass(frozen=True)
class Ended:
    """A line, by its number, and how it ended: exit code, and what is wrong (None: nothing)."""

    number: int
    line: Line
    code: int | None
    wrong: str | None


def fault(words: Sequence[str], seconds: float = SECONDS) -> str | None:
    """What is wrong with how a line ends; None: nothing."""
    return _ended(words, seconds)[1]


def _ended(words: Sequence[str], seconds: float = SECONDS) -> tuple[int | None, str | None]:
    """Exit code, and what is wrong."""
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
        return None, f"longer than {seconds} s\n{traceback.format_exc(limit=-4)}"
    except BaseException:
        return None, traceback.format_exc(limit=-4)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    lines_said = [line for line in said.getvalue().splitlines() if line.startswith("ipads-stream:")]
    if code not in (0, 1, 2) or (code == 2 and len(lines_said) != 1 and words):
        return code, f"exit code {code}, {said.getvalue()[-300:]!r}"
    if "Traceback" in said.getvalue():
        return code, said.getvalue()[-1500:]
    return code, None


def run(seed: int, count: int, start: int = 0) -> Iterator[Ended]:
    """How each line ends; each in an empty folder."""
    with tempfile.TemporaryDirectory() as trained:
        _import_everything(Path(trained))
        rest = itertools.islice(enumerate(lines(seed, count, Path(trained))), start, None)
        todo: list[tuple[int, Line]] = []
        while todo := todo + list(itertools.islice(rest, BLOCK - len(todo))):
            ended = _block(todo)
            yield from ended
            todo = todo[len(ended) :]


def _import_everything(trained: Path) -> None:
    """And let every system train a step: what that compiles, its forks have."""
    import ipads_stream
    from ipads_stream.stream import bench

    fuzz_hydra.keep()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.walk_packages(ipads_stream.__path__, "ipads_stream."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
        for name in LAZY:
            importlib.import_module(name)
        bench.STORED = 8  # of a system of volumes, 4,096 samples take minutes
        for line in sound_lines(trained):
            wrong = fault(line.words, COMPILING)
            if wrong:
                raise RuntimeError(f"{line.words}: {wrong}")
    gc.collect()
    gc.freeze()


def _block(todo: Sequence[tuple[int, Line]]) -> list[Ended]:
    """Runs lines in one fork until one is wrong."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb", buffering=0) as answers:
            _answer(todo, answers)
        os._exit(0)
    os.close(writing)
    ended: list[Ended] = []
    wrong = None
    with os.fdopen(reading, "rb") as results:
        while len(ended) < len(todo):
            if not select.select([results], [], [], WAIT)[0]:
                wrong = f"nothing within {WAIT} s"
                break
            try:
                ended.append(Ended(*todo[len(ended)], *pickle.load(results)))
            except EOFError:
                break
            if ended[-1].wrong:
                break
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if len(ended) < len(todo) and not (ended and ended[-1].wrong):
        wrong = wrong or f"the process ends with status {status}"
        ended.append(Ended(*todo[len(ended)], None, wrong))
    return ended


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
            code, wrong = _ended(line.words)
        shutil.rmtree(folder, ignore_errors=True)
        if wrong is None and _peak() - base > BYTES:
            wrong = f"{(_peak() - base) / 1e9:.1f} GB"
        pickle.dump((code, wrong), answers)


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


def _tally(path: Path, piece: dict[str, Any]) -> None:
    """Writes a piece in place of what was written of it before."""
    known = json.loads(path.read_text())["pieces"] if path.is_file() else []
    of = ("commit", "seed", "start")
    others = [x for x in known if any(x[key] != piece[key] for key in of)]
    path.write_text(json.dumps({"pieces": [*others, piece]}, indent=1) + "\n")


def main(count: int, seed: int = 0, start: int = 0, path: Path | None = None) -> int:
    """Prints what is wrong, and keeps the tally; how many lines it was."""
    here = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(here, capture_output=True, text=True).stdout.strip()
    began, verbs, faults = time.time(), dict[str, Counter[str]](), list[int]()
    for number, ended in enumerate(run(seed, count, start), 1):
        verb = ended.line.words[0]
        verbs.setdefault(verb, Counter())[str(ended.code)] += 1
        if ended.wrong:
            faults.append(ended.number)
            words = " ".join(map(repr, ended.line.words))
            sys.stdout.write(f"{ended.number}: ipads-stream {words} {ended.line.files}\n")
            sys.stdout.write(f"{ended.wrong}\n\n")
        if path and (number % 100 == 0 or number == count - start or ended.wrong):
            piece = {"commit": commit, "seed": seed, "start": start, "lines": number,
                     "faults": faults, "verbs": verbs}  # fmt: skip
            _tally(path, piece)
            sys.stdout.write(f"{number} lines, {time.time() - began:.0f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(faults)} faults in {count - start} lines\n")
    return len(faults)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"  # threads of OpenMP do not survive a fork
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    wrong = main(*(int(x) for x in sys.argv[1:4]), *(Path(x) for x in sys.argv[4:5]))
    sys.exit(1 if wrong else 0)
