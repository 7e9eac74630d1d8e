"""A study run: all its tasks, each in a separate process so that a failing one leaves the others
alone, or one of them; and the report.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_all_start_methods, get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Whole
from ipads_stream.shift.collect import collect, log_objective
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.statistics import ANY_SEED
from ipads_stream.shift.study import Study, Task
from ipads_stream.shift.task import BusyError, is_finished, objective, run_task

OK, FAILED, BAD_CONFIG, BUSY, INTERRUPTED = 0, 1, 2, 3, 130


@dataclass(frozen=True)
class Ran:
    """The outcome of a run.

    Attributes:
        text: for the terminal.
        failures: name of the task -> reason.
        objective: of one arm and seed, for sweeps.
    """

    text: str
    failures: dict[str, str]
    objective: float | None = None


def run_study(config: Mapping[str, Any], *, bar: bool = False) -> Ran:
    """Runs what ``arm`` and ``seed`` choose, several at a time, and reports on the whole study.

    One arm with one seed runs in this process, and there is no report: it is a job among many.
    ``config`` is a composed ``conf/shift.yaml``, plain.

    Raises:
        ConfigError: a key that is refused, an arm that cannot be built where it runs alone.
        KeyboardInterrupt: what was done is saved, and the same call goes on.
    """
    study = read_study(config)
    study.check()
    chosen = _chosen(study, config.get("arm"), config.get("seed"))
    asked = config.get("objective") or {}
    metric = str(asked.get("metric") or study.scoring.errors)
    is_job = config.get("arm") is not None and len(chosen) == 1
    if is_job:
        try:
            run_task(study, chosen[0])
        except BusyError as error:
            return Ran(str(error), {chosen[0].name: str(error)})
        value = objective(study, chosen[0], metric=metric, test=asked.get("test"))
        log_objective(value, config, study.folder(chosen[0]) / "job")
        line = f"{chosen[0].name}: {metric} {value:.6g} ({study.folder(chosen[0])})"
        return Ran(line, {}, value)
    failures = run_all(config, chosen, processes=config.get("processes", 1), bar=bar)
    named = {task.name: reason for task, reason in failures.items()}
    if not config.get("report", True):
        return Ran("\n".join(f"{name}: {why}" for name, why in named.items()), named)
    return Ran(collect(study, failures, config.get("logger") or {}, config), named)


def _chosen(study: Study, arm: Any, seed: Any) -> list[Task]:
    tasks = study.tasks()
    names = list(dict.fromkeys(task.arm for task in tasks))
    if arm is not None and arm not in names:
        raise ConfigError("arm", arm, f"one of {', '.join(names)}")
    if seed is not None and seed not in study.seeds:
        raise ConfigError("seed", seed, f"one of shift.seeds={list(study.seeds)}")
    return [
        task
        for task in tasks
        if (arm is None or task.arm == arm) and (seed is None or task.seed in (seed, ANY_SEED))
    ]


def run_all(
    config: Mapping[str, Any], tasks: Sequence[Task], *, processes: int = 1, bar: bool = False
) -> dict[Task, str]:
    """Runs the tasks that are not finished, several at a time; tells in a line why any failed."""
    Whole(low=1)("processes", processes)
    study = read_study(config)
    waiting: list[Task] = []
    failures: dict[Task, str] = {}
    for task in tasks:
        try:
            if not is_finished(study, task):
                waiting.append(task)
        except ConfigError as error:  # an arm that cannot be composed; the others can
            failures[task] = str(error)
    done = len(tasks) - len(waiting) - len(failures)
    running: dict[Any, Task] = {}
    progress = tqdm(total=len(tasks), initial=done, desc=study.name, disable=not bar, unit="arm")
    with _terminating(), progress:
        try:
            while waiting or running:
                for task in waiting:
                    if (before := study.needs(task)) is not None and before in failures:
                        failures[task] = f"{before.name}, which it starts from, failed"
                waiting = [task for task in waiting if task not in failures]
                while len(running) < processes:
                    unready = {*waiting, *running.values()}  # as what some tasks start from
                    ready = next((x for x in waiting if study.needs(x) not in unready), None)
                    if ready is None:
                        break
                    waiting.remove(ready)
                    running[_started(config, study, ready)] = ready
                if not running:  # nothing is left that can start
                    break
                for sentinel in connection.wait([process.sentinel for process in running]):
                    process = next(p for p in running if p.sentinel == sentinel)
                    process.join()
                    task = running.pop(process)
                    if process.exitcode != OK:
                        failures[task] = _reason(study, task, process.exitcode)
                    progress.set_postfix_str(f"{task.name}, {len(failures)} failed", refresh=False)
                    progress.update()
        except KeyboardInterrupt:
            for process in running:
                process.terminate()  # saves at the end of the step
            for process in running:
                process.join()
            raise
    return failures


def _started(config: Mapping[str, Any], study: Study, task: Task) -> Any:
    folder = study.folder(task)
    folder.mkdir(parents=True, exist_ok=True)
    words = (dict(config), task, str(folder / "log.txt"), dict(os.environ))
    process = _processes().Process(target=_work, args=words, daemon=True)
    process.start()
    return process


def _processes() -> Any:
    """Processes forked from one that has imported everything (10 s) and has no thread yet."""
    if "forkserver" not in get_all_start_methods():  # Windows
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload(["ipads_stream.shift.run", "ipads_stream.train.supervised"])
    return context


def _work(config: dict[str, Any], task: Task, log: str, environment: dict[str, str]) -> None:
    """In the separate process: what is printed goes to a file beside the checkpoint."""
    os.environ.clear()
    os.environ.update(environment)
    if sys.platform != "win32":
        os.setpgrp()  # Ctrl-C reaches the parent, which then ends this process once and not twice
    with Path(log).open("a", encoding="utf-8") as file:
        sys.stdout = sys.stderr = file
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.exit(_code(config, task))


def _code(config: dict[str, Any], task: Task) -> int:
    try:
        run_task(read_study(config), task)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        reason, code = str(error), BAD_CONFIG if isinstance(error, ConfigError) else BUSY
        if not isinstance(error, (ConfigError, BusyError)):
            traceback.print_exc()
            reason, code = " ".join(f"{type(error).__name__}: {error}".split()), FAILED
        print(f"last: {reason}", file=sys.stderr)  # noqa: T201
        return code
    return OK


def _reason(study: Study, task: Task, code: int) -> str:
    """The line that the process left, or what ended it."""
    path = study.folder(task) / "log.txt"
    if code < 0:
        return f"killed by signal {-code} ({path})"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    last = [line for line in lines if line.startswith("last: ")]
    reason = last[-1].removeprefix("last: ") if last and code != INTERRUPTED else "interrupted"
    return reason if code in (BAD_CONFIG, BUSY) else f"{reason} ({path})"


@contextmanager
def _terminating() -> Iterator[None]:
    """SIGTERM as Ctrl-C: a batch system asks in this way."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone gets signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
