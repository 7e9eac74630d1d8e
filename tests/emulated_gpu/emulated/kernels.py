"""``cupy.RawModule``: the CUDA text, run through the CPU shim, its arguments checked.

An argument must be of the declared type: CuPy hands over bytes, and an array of another dtype, or
one that is not contiguous, would be read as something else without a word.
"""

from __future__ import annotations

import ctypes
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np

from emulated import order
from emulated.array import ndarray
from emulated.compiled import library_of
from emulated.counts import counting
from emulated.graphs import capturing

SHIM = Path(__file__).parents[2] / "kernels" / "host_shim.h"
_lock = threading.Lock()


class RawModule:
    """A CUDA text with options, for the CPU."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), **others: Any) -> None:
        if others:
            raise TypeError(f"the stand-in takes code and options of a RawModule, not {others}")
        self.code, self.options = code, options
        self._kernels: dict[str, Kernel] = {}

    def get_function(self, name: str) -> Kernel:
        if name not in self._kernels:
            self._kernels[name] = Kernel(self, name)
        return self._kernels[name]


class Kernel:
    def __init__(self, module: RawModule, name: str) -> None:
        self.name = name
        defined = dict(re.findall(r"-D(\w+)=(\w+)", " ".join(module.options)))
        found = re.search(rf"__global__ void {name}\((.*?)\)", module.code, re.DOTALL)
        if found is None:
            raise AttributeError(f"the CUDA text has no kernel {name}")
        self.declared = [" ".join(part.split()) for part in found.group(1).split(",")]
        self.kinds = [kinds_of(part, module.code, defined) for part in self.declared]
        self._run = built(module, name, self.declared).run

    def __call__(self, grid: Any, block: Any, args: Any, *, shared_mem: int = 0) -> None:
        if len(args) != len(self.declared):
            raise TypeError(f"{self.name} takes {len(self.declared)} arguments, got {len(args)}")
        stream = order.stream_of("cupy")
        for x, declared, kinds in zip(args, self.declared, self.kinds, strict=True):
            check(self.name, x, declared, kinds)
            if isinstance(x, ndarray):
                order.check(x._memory, stream, order.current.device)
        now = order.tick(stream)
        for x, declared in zip(args, self.declared, strict=True):
            if isinstance(x, ndarray) and not declared.startswith("const"):
                x._memory.stream, x._memory.tick = stream, now
        number = int(np.prod(grid)) * int(np.prod(block))

        def run() -> None:
            with _lock:  # the shim keeps its place in variables of its own
                self._run(ctypes.c_uint(number), *map(_as_c, args))

        graph = capturing(self.name, stream)
        if graph is None:
            run()
            counting.launch(self.name)
        else:
            arrays = [(x, d.startswith("const")) for x, d in zip(args, self.declared, strict=True)
                      if isinstance(x, ndarray)]  # fmt: skip
            writes = [x._memory for x, is_read in arrays if not is_read]
            graph.note(run, [x._memory for x, is_read in arrays if is_read], writes, [])


def check(kernel: str, x: Any, declared: str, kinds: tuple[Any, ...]) -> None:
    """That an argument is what the text declares."""
    if "*" in declared:
        if not isinstance(x, ndarray):
            raise TypeError(f"{kernel}: {declared} must be an array of CuPy, got {type(x)}")
        if not x.flags.c_contiguous:
            raise TypeError(f"{kernel}: {declared} is not contiguous (strides {x.strides})")
    elif not isinstance(x, np.generic):
        raise TypeError(f"{kernel}: {declared} must be a number of NumPy, got {type(x)}")
    if x.dtype not in kinds:
        raise TypeError(f"{kernel}: {declared} was given {x.dtype}")


def _as_c(x: Any) -> Any:
    if isinstance(x, ndarray):
        return ctypes.c_void_p(x._host.ctypes.data)
    return np.ctypeslib.as_ctypes_type(x.dtype)(x.item())


_TYPES = {
    "float": "f4", "double": "f8", "int": "i4", "unsigned": "u4", "unsigned int": "u4",
    "long long": "i8", "unsigned long long": "u8", "unsigned char": "u1 ?", "signed char": "i1",
    "float2": "c8", "float4": "f4 c8",
}  # fmt: skip


def kinds_of(declared: str, code: str, defined: dict[str, str]) -> tuple[np.dtype, ...]:
    """The dtypes that an argument may have."""
    name = re.sub(r"\bconst\b|\*|\b\w+$|__restrict__", "", declared).strip()
    alias = {new: old for old, new in re.findall(r"typedef ([\w ]+) (\w+);", code)}
    alias |= dict(re.findall(r"using (\w+) = ([\w ]+);", code))
    real = defined.get("REAL", "float")
    name = alias.get(name, name)
    if name == "REAL":
        name = real
    if name in _TYPES:
        return tuple(np.dtype(x) for x in _TYPES[name].split())
    # Structures of real and imaginary part, or of one of both; bytes as memory to work in.
    kinds = ("c8", "f4") if real == "float" else ("c16", "f8")
    work = () if declared.startswith("const") else ("u1",)
    return tuple(np.dtype(x) for x in (*kinds, *work))


def built(module: RawModule, name: str, declared: list[str]) -> Any:
    """The kernel as a library, kept from one process to the next by all that makes it."""
    call = ", ".join(re.search(r"(\w+)$", part).group(1) for part in declared)  # type: ignore[union-attr]
    flags = [x for x in module.options if x.startswith("-D")]
    shim = SHIM.read_text()
    each = "for_each_warp" if re.search(r"__syncwarp|__shfl", module.code) else "for_each_item"
    body = (
        f"{shim}\n{module.code}\n"
        f'extern "C" void run(unsigned num_items, {", ".join(declared)}) '
        f"{{ {each}(num_items, [&] {{ {name}({call}); }}); }}\n"
    )
    with _lock:
        return library_of(body, (*flags, "-O1", "-w"))
