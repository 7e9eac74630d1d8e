"""What holds for every file of a kind. Structure, not line counts."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ipads_stream"
MODULES = sorted(PACKAGE.rglob("*.py"))
SYSTEMS = [path for path in (PACKAGE / "systems").glob("*.py") if path.stem != "__init__"]


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_every_system_has_a_yaml_a_readme_row_and_a_source(path):
    assert (ROOT / "conf" / "system" / f"{path.stem}.yaml").is_file()
    assert f"| `{path.stem}`" in (ROOT / "README.md").read_text()
    assert "Source:" in path.read_text()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.cu")), ids=lambda path: path.stem)
def test_every_cuda_text_has_a_numba_twin_and_is_tested(path):
    assert path.with_suffix(".py").is_file()
    assert "njit" in path.with_suffix(".py").read_text()
    tests = (ROOT / "tests" / "kernels").glob("test_*.py")
    assert any(f'"{path.name}"' in test.read_text() for test in tests)
    text = path.read_text()
    for forbidden in ("__shared__", "atomic", "__syncthreads", "#include"):
        assert forbidden not in text


def test_public_physics_states_units_and_is_documented():
    import importlib

    for path in (PACKAGE / "physics").glob("*.py"):
        if path.stem == "__init__":
            continue
        module = importlib.import_module(f"ipads_stream.physics.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("_") or function.__module__ != module.__name__:
                continue
            text = inspect.getdoc(function) or ""
            for argument in inspect.signature(function).parameters:
                assert re.search(rf"\b{argument}\b", text), f"{name}: {argument} not documented"


def test_no_catch_all_modules():
    for path in MODULES:
        names = {"utils", "util", "base", "common", "helpers", "misc", "registry", "engine"}
        assert path.stem not in names


def test_every_module_says_what_it_is():
    for path in MODULES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path.name} has no docstring"


def test_every_array_creation_in_physics_passes_dtype_and_device():
    creators = {"arange", "linspace", "zeros", "ones", "empty", "full", "fftfreq"}
    for path in (PACKAGE / "physics").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            # NumPy's own calls live on the host; only the array API's need both.
            of_namespace = isinstance(node.func.value, ast.Name) and node.func.value.id == "xp"
            if of_namespace and node.func.attr in creators:
                given = {keyword.arg for keyword in node.keywords}
                assert "dtype" in given, f"{path.name}:{node.lineno}"
                assert "device" in given or node.func.attr == "empty", f"{path.name}:{node.lineno}"


def test_import_is_fast_and_lean():
    program = (
        "import sys, time; t = time.perf_counter(); import ipads_stream;"
        "heavy = {'torch', 'hydra', 'wandb', 'cupy', 'numba', 'lightning', 'matplotlib'};"
        "print(time.perf_counter() - t, sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    seconds, _, heavy = done.stdout.strip().partition(" ")
    assert heavy == "[]"
    assert float(seconds) < 0.5


def test_the_public_names_exist():
    import ipads_stream

    for name in ipads_stream.__all__:
        assert getattr(ipads_stream, name) is not None
    with pytest.raises(AttributeError):
        _ = ipads_stream.nothing
