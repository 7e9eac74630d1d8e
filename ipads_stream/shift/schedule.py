"""All tasks of a study in processes of their own: what one of them does leaves the others alone."""

from __future__ import annotations

import io
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ipads_stream.core.errors import ConfigError
from ipads_stream.shift.reading import read_study
from ipads_stream.shift.study import Study, Task
from ipads_stream.shift.task import BusyError, is_finished, run_task

OK, FAILED, BAD_CONFIG, BUSY, INTERRUPTED = 0, 1, 2, 3, 130


def run_all(
    config: Mapping[str, Any], tasks: Sequence[Task], *, processes: int = 1, bar: bool = False
) -> dict[Task, str]:
    """Runs the tasks that are not finished, several at a time.

    Args:
        config: composed ``conf/shift.yaml``.
        tasks: of the study.
        processes: at a time.
        bar: show a progress bar with an estimate of the time left.

    Returns:
        What happened to each task that failed, in one line; the others are finished.

    Raises:
        ConfigError: processes below 1.
        KeyboardInterrupt: by SIGINT or SIGTERM, after all tasks in progress have saved.
    """
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise ConfigError("processes", processes, "a whole number from 1")
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
    with (
        _terminating(),
        tqdm(total=len(tasks), initial=done, desc=study.name, disable=not bar, unit="arm") as told,
    ):
        try:
            while waiting or running:
                failures |= _without_start(study, waiting, failures)
                waiting = [task for task in waiting if task not in failures]
                while len(running) < processes and (ready := _next(study, waiting, running)):
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
                    told.set_postfix_str(f"{task.name}, {len(failures)} failed", refresh=False)
                    told.update()
        except KeyboardInterrupt:
            for process in running:
                process.terminate()  # saves at the end of the step
            for process in running:
                process.join()
            raise
    return failures


def _next(study: Study, waiting: Sequence[Task], running: Mapping[Any, Task]) -> Task | None:
    """The first task that does not start from one that is still to be trained."""
    open_tasks = {*waiting, *running.values()}
    return next((task for task in waiting if study.needs(task) not in open_tasks), None)


def _without_start(
    study: Study, waiting: Sequence[Task], failures: Mapping[Task, str]
) -> dict[Task, str]:
    """Tasks that can never start, and why."""
    needed = {task: study.needs(task) for task in waiting}
    return {
        task: f"{before.name}, which it starts from, failed"
        for task, before in needed.items()
        if before is not None and before in failures
    }


def _started(config: Mapping[str, Any], study: Study, task: Task) -> Any:
    folder = study.folder(task)
    folder.mkdir(parents=True, exist_ok=True)
    process = get_context("spawn").Process(
        target=_work, args=(dict(config), task, str(folder / "log.txt")), daemon=True
    )
    process.start()
    return process


def _work(config: dict[str, Any], task: Task, log: str) -> None:
    """In a process of its own: what is printed goes to a file beside the checkpoint."""
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
    except ConfigError as error:
        print(f"last: {error}", file=sys.stderr)  # noqa: T201
        return BAD_CONFIG
    except BusyError as error:
        print(f"last: {error}", file=sys.stderr)  # noqa: T201
        return BUSY
    except Exception as error:
        text = io.StringIO()
        traceback.print_exc(file=text)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{text.getvalue()}last: {reason}", file=sys.stderr)  # noqa: T201
        return FAILED
    return OK


def _reason(study: Study, task: Task, code: int) -> str:
    """The line that the process left, or what ended it."""
    path = study.folder(task) / "log.txt"
    if code < 0:
        return f"killed by signal {-code} ({path})"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    told = [line for line in lines if line.startswith("last: ")]
    reason = told[-1].removeprefix("last: ") if told and code != INTERRUPTED else "interrupted"
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
