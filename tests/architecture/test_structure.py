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
SHARED = ("__init__", "base", "relaxometry", "echo_train")
SYSTEMS = [path for path in (PACKAGE / "systems").glob("*.py") if path.stem not in SHARED]


@pytest.mark.parametrize("path", SYSTEMS, ids=lambda path: path.stem)
def test_every_system_has_a_yaml_a_readme_row_and_a_source(path):
    assert (ROOT / "conf" / "system" / f"{path.stem}.yaml").is_file()
    lines = (ROOT / "README.md").read_text().splitlines()
    assert any(f"`{path.stem}`" in line.split("|")[1] for line in lines if line.startswith("|"))
    assert "Source:" in path.read_text()


TEXTS = sorted(PACKAGE.rglob("*.cu"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_every_cuda_text_has_a_twin_and_is_tested(path):
    """The twin: Numba's text or the formula in arrays that the first lines name."""
    text = path.read_text()
    parts = [re.fullmatch(r'#include "(\w+\.cu)"', line) for line in re.findall("#include.*", text)]
    assert all(part and (path.parent / part.group(1)).is_file() for part in parts)
    assert "atomic" not in text
    # Threads of one warp alone work together, but for more than 5 pools: a warp has too few.
    assert ("__syncthreads" in text) == (path.stem == "bloch_mcconnell")
    twins = re.findall(r"\w+\.py", text.partition("\n\n")[0])
    folders = (path.parent, path.parents[1])
    assert any(
        (folder / name).is_file() for folder in folders for name in (*twins, f"{path.stem}.py")
    )
    kernels = re.findall(r"__global__ void(?: __launch_bounds__\(.*?\))? (\w+)\(", text)
    assert len(kernels) == text.count("__global__")
    tests = "".join(test.read_text() for test in (ROOT / "tests" / "kernels").glob("*.py"))
    room = f"{path.parents[1].name}/kernels"  # of which a test may compile each text
    assert all(f'"{name}' in tests or f'{room}"' in tests for name in kernels)


INTERNAL = ("arguments", "arrays", "dispatch")  # what the rooms of physics share


def public_physics():
    """Modules and their public functions: of a room with ``__all__`` those that it exports."""
    import importlib

    for path in (PACKAGE / "physics").rglob("*.py"):
        if path.parent.name == "kernels" or path.stem in INTERNAL:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        room = importlib.import_module(".".join(parts[:-1]))
        is_room = path.stem == "__init__"
        if is_room == hasattr(room, "__all__"):
            module = room if is_room else importlib.import_module(".".join(parts))
            for name, function in inspect.getmembers(module, inspect.isfunction):
                is_own = function.__module__ == module.__name__ and not name.startswith("_")
                is_public = name in room.__all__ if is_room else is_own
                if is_public and not name.endswith("_formula"):  # as what it stands behind
                    yield name, function


def test_public_physics_states_units_and_is_documented():
    functions = dict(public_physics())
    assert {"evolve", "fisp", "z_spectrum", "field", "damped_exponentials"} <= functions.keys()
    for name, function in functions.items():
        text = inspect.getdoc(function) or ""
        for argument in inspect.signature(function).parameters:
            assert re.search(rf"\b{argument}\b", text), f"{name}: {argument} not documented"


def test_no_catch_all_modules():
    for path in MODULES:
        names = {"utils", "util", "common", "helpers", "misc", "registry", "engine"}
        assert path.stem not in names


def test_every_module_says_what_it_is():
    for path in MODULES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), f"{path.name} has no docstring"


def test_every_array_creation_in_physics_passes_dtype_and_device():
    creators = {"arange", "linspace", "zeros", "ones", "empty", "full", "fftfreq"}
    for path in (PACKAGE / "physics").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            # NumPy's own calls live on the host; only the array API's need both.
            of_namespace = isinstance(node.func.value, ast.Name) and node.func.value.id == "xp"
            if of_namespace and node.func.attr in creators:
                given = {keyword.arg for keyword in node.keywords}
                assert "dtype" in given, f"{path.name}:{node.lineno}"
                assert "device" in given or node.func.attr == "empty", f"{path.name}:{node.lineno}"


def test_import_is_lean():
    program = (
        "import sys, ipads_stream;"
        "heavy = {'torch', 'hydra', 'wandb', 'cupy', 'numba', 'lightning', 'matplotlib', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_the_public_names_exist():
    import ipads_stream

    for name in ipads_stream.__all__:
        assert getattr(ipads_stream, name) is not None
    with pytest.raises(AttributeError):
        _ = ipads_stream.nothing
