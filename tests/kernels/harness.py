"""Build CUDA text without a GPU: with g++ for the CPU to run it, with NVRTC for its registers."""

from __future__ import annotations

import ctypes
import io
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHIM = Path(__file__).with_name("host_shim.h")


def lacking(reason: str) -> None:
    """Skip for want of a tool, but fail where CI is set: there the tool is part of the bargain."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def host_kernel(text: Path, name: str, folder: Path, real: str = "float") -> Any:
    """The kernel as a function (num_items, *arguments) on the CPU; it works in place."""
    compiler = shutil.which("g++")
    if compiler is None:
        lacking("g++ is not installed: the CUDA text cannot be run on the CPU")
    signature = re.search(rf"__global__ void {name}\((.*?)\)", text.read_text(), re.DOTALL).group(1)
    declared = [part.strip() for part in signature.split(",")]
    call = ", ".join(re.search(r"(\w+)$", part).group(1) for part in declared)
    source, library = folder / f"{name}_{real}.cpp", folder / f"{name}_{real}.so"
    source.write_text(
        f'#define REAL {real}\n#include "{SHIM}"\n#include "{text}"\n'
        f'extern "C" void run(unsigned num_items, {", ".join(declared)}) '
        f"{{ for_each_item(num_items, [&] {{ {name}({call}); }}); }}\n"
    )
    build = [compiler, "-std=c++17", "-O2", "-fPIC", "-shared", str(source), "-o", str(library)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run = ctypes.CDLL(str(library)).run

    def kernel(num_items: int, *arguments: Any) -> None:
        run(ctypes.c_uint(num_items), *(_as_c(x) for x in arguments))

    return kernel


def _as_c(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p(x.ctypes.data)
    return np.ctypeslib.as_ctypes_type(x.dtype)(x.item())


def ptxas_log(text: Path, arch: str, real: str) -> str:
    """What ptxas -v says of the text's kernels on one architecture."""
    try:
        from cuda.core import Program, ProgramOptions

        options = ProgramOptions(
            arch=arch,
            std="c++17",
            define_macro=("REAL", real),
            ptxas_options=["-v"],
            use_fast_math=False,
        )
        program = Program(text.read_text(), "c++", options)
    except Exception as error:  # a missing package, a missing library or one of another version
        lacking(f"cuda-core[cu13] with nvidia-cuda-nvrtc is needed to compile CUDA text: {error}")
    log = io.StringIO()
    program.compile("cubin", logs=log)
    return log.getvalue()


def resources(log: str) -> dict[str, dict[str, int]]:
    """Registers, spilled bytes and stack bytes of each kernel in a ptxas log."""
    found = {}
    for name, body in re.findall(
        r"Compiling entry function '(\w+)'(.*?)(?=Compiling entry|\Z)", log, re.DOTALL
    ):
        found[name] = {
            "registers": int(re.search(r"Used (\d+) registers", body).group(1)),
            "spills": sum(int(n) for n in re.findall(r"(\d+) bytes spill", body)),
            "stack": int(re.search(r"(\d+) bytes stack frame", body).group(1)),
        }
    return found
