"""Build CUDA text with g++, for the CPU to run it."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated.compiled import library_of

from ipads_stream.core.backend import cuda_text

SHIM = Path(__file__).with_name("host_shim.h")


def lacking(reason: str) -> None:
    """Skip for want of a tool, but fail where CI is set: there the tool is part of the bargain."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def host_kernel(text: Path, name: str, real: str = "float", lanes: int = 32) -> Any:
    """The kernel as a function (num_items, *arguments) on the CPU; it works in place.

    Where lanes work together, whole warps are run, as on a GPU, or thread blocks of so many lanes.
    """
    if shutil.which("g++") is None:
        lacking("g++ is not installed: the CUDA text cannot be run on the CPU")
    whole = cuda_text(text)
    signature = re.search(rf"__global__ void {name}\((.*?)\)", whole, re.DOTALL).group(1)
    declared = [part.strip() for part in signature.split(",")]
    call = ", ".join(re.search(r"(\w+)$", part).group(1) for part in declared)
    each = "for_each_warp" if re.search(r"__syncwarp|__shfl", whole) else "for_each_item"
    body = (
        f"#define REAL {real}\n#define LANES {lanes}\n{SHIM.read_text()}\n{whole}\n"
        f'extern "C" void run(unsigned num_items, {", ".join(declared)}) '
        f"{{ {each}(num_items, [&] {{ {name}({call}); }}); }}\n"
    )
    run = library_of(body, ("-O2",)).run

    def kernel(num_items: int, *arguments: Any) -> None:
        run(ctypes.c_uint(num_items), *(_as_c(x) for x in arguments))

    return kernel


def run_on_host(monkeypatch: pytest.MonkeyPatch, *places: Any) -> None:
    """Let modules that launch kernels run them on the CPU, five items more than they ask for."""

    def launch(module: tuple[Path, str], name: str, num: int, *arguments: Any) -> None:
        text, real = module
        host_kernel(text, name, real)(num + 5, *arguments)

    def module(text: Path, options: tuple[str, ...] = ("-DREAL=double",)) -> tuple[Path, str]:
        return text, options[0].removeprefix("-DREAL=")

    for place in places:
        monkeypatch.setattr(place, "launch", launch)
        monkeypatch.setattr(place, "cuda_module", module)


def _as_c(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return ctypes.c_void_p(x.ctypes.data)
    return np.ctypeslib.as_ctypes_type(x.dtype)(x.item())
