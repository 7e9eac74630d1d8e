"""Nothing that only POSIX has, so that the package runs on Windows, too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ipads_stream"
MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty", "syslog"}
CALLS = {
    "os": {"fork", "forkpty", "getuid", "geteuid", "getpgid", "killpg", "mkfifo", "setpgrp",
           "setsid", "sched_getaffinity", "sched_setaffinity", "uname", "wait3", "nice"},
    "signal": {"SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "alarm", "pause"},
}  # fmt: skip


def offences(text: str) -> list[str]:
    """Imports and names that Windows lacks, unless under ``if sys.platform != "win32":``."""
    tree = ast.parse(text)
    guarded = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "sys.platform != 'win32'"
        for statement in node.body
        for child in ast.walk(statement)
    }
    names = []
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            names += [(node.lineno, a.name) for a in node.names if a.name in MODULES]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            used = {a.name for a in node.names} & CALLS.get(node.module, set())
            names += [(node.lineno, node.module)] * (node.module in MODULES or bool(used))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            used = {node.attr} & CALLS.get(node.value.id, set())
            names += [(node.lineno, f"{node.value.id}.{name}") for name in used]
    return [f"line {line}: {name}" for line, name in names]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_no_module_needs_posix(path):
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("import fcntl", 1),
        ("def f():\n    from os import fork", 1),
        ("import os\nos.setpgrp()", 1),
        ("import os, sys\nif sys.platform != 'win32':\n    os.setpgrp()", 0),
        ("import os\nos.getpid()", 0),
    ],
)
def test_the_lint_sees_them(text, number):
    assert len(offences(text)) == number
