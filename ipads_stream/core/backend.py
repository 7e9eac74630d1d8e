"""The one place that knows the array libraries: NumPy, CuPy, torch and all of the array API.

CuPy is imported inside functions only, torch never (see handover.py): neither is needed on the CPU.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial, wraps
from pathlib import Path
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from ipads_stream.core.errors import ConfigError

_THREADS = 128
_ALIGNED = 16  # bytes; of the largest number
_modules: dict[tuple[int, Path, tuple[str, ...]], Any] = {}
_kept: dict[tuple[int, str, int], Any] = {}
_lock = threading.RLock()  # an upload may end the life of another constant


def namespace(*arrays: Any) -> Any:
    """The array API of the library that the arrays share; TypeError where they share none."""
    return array_api_compat.array_namespace(*arrays)


def device_of(array: Any) -> Any:
    """The device of an array, as its library names it."""
    return array_api_compat.device(array)


def is_numpy(x: Any) -> bool:
    """Whether x is a NumPy array."""
    return isinstance(x, np.ndarray)


def is_torch(x: Any) -> bool:
    """Whether x is a torch tensor."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def is_cupy(x: Any) -> bool:
    """Whether x is a CuPy array."""
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(x, cupy.ndarray)


def resolve_device(device: str = "auto") -> str:
    """``cpu``, ``cuda`` (the current one) or ``cuda:1``; ``auto`` takes CUDA where CuPy sees it.

    Raises:
        ConfigError: no such name.
    """
    named, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if device not in ("auto", "cpu", "cuda") and not (named == "cuda" and number.isdecimal()):
        raise ConfigError("device", device, "auto, cpu, cuda or the number of one, as in cuda:1")
    if device != "auto":
        return device
    try:
        return "cuda" if _cupy().cuda.is_available() else "cpu"
    except ModuleNotFoundError:
        return "cpu"


def device_namespace(device: str = "auto") -> ModuleType:
    """NumPy for ``cpu``, CuPy for ``cuda``.

    Raises:
        ConfigError: CuPy is not installed (the message names the extra that brings it), or finds no
            GPU, or not so many.
    """
    device = resolve_device(device)
    if device == "cpu":
        return np
    try:
        cupy = _cupy()
    except ModuleNotFoundError as error:
        raise ConfigError("device", device, f"cpu here ({error})") from error
    if not cupy.cuda.is_available():
        raise ConfigError("device", device, "cpu here (CuPy finds no GPU or no driver)")
    count = cupy.cuda.runtime.getDeviceCount()
    if int(device.partition(":")[2] or 0) >= count:
        raise ConfigError("device", device, f"cuda:0 to cuda:{count - 1} here")
    return cupy


def cuda_module(path: Path, options: tuple[str, ...] = ()) -> Any:
    """The compiled CUDA text of a file, one per device and options; the file is read once."""
    cupy = _cupy()
    key = (cupy.cuda.Device().id, path, options)
    with _lock:
        if key not in _modules:
            text = cuda_text(path)
            _modules[key] = cupy.RawModule(code=text, options=("-std=c++17", *options))
        return _modules[key]


def cuda_text(path: Path) -> str:
    """The CUDA text of a file, with those that it includes in their places.

    CuPy's store of compiled kernels does not look into included files.
    """
    return re.sub(
        r'#include "(.+)"\n', lambda name: cuda_text(path.parent / name[1]), path.read_text()
    )


def launch(module: Any, name: str, num_items: int, *arguments: Any) -> None:
    """Run one thread per item of a kernel on CuPy's current stream."""
    if num_items:
        grid = (-(-num_items // _THREADS),)
        _function(module, name)(grid, (_THREADS,), arguments)


@lru_cache(None)  # as many as there are modules, which are kept
def _function(module: Any, name: str) -> Any:
    return module.get_function(name)


def fused(chain: Callable[..., Any]) -> Callable[..., Any]:
    """An element-wise function of arrays, ``chain(xp, *arrays)``, that a GPU runs as one kernel.

    Called without xp. It may use element-wise functions and operators alone, no index and no other
    shape: CuPy traces it, once for every set of dtypes and numbers of axes. Arguments may be
    numbers of Python, too, each of which meets an array before it meets another number: of two of
    them CuPy would make double precision.
    """

    @wraps(chain)
    def run(*arrays: Any) -> Any:
        xp = namespace(*(x for x in arrays if hasattr(x, "shape")))
        if array_api_compat.is_cupy_namespace(xp):
            return _traced(chain)(*arrays)
        return chain(xp, *arrays)

    return run


@lru_cache(None)  # as many as there are chains in the program
def _traced(chain: Callable[..., Any]) -> Any:
    cupy = _cupy()
    return cupy.fuse(kernel_name=chain.__name__.strip("_"))(partial(chain, cupy))


def kept(constant: np.ndarray, xp: Any, dtype: Any = None) -> Any:
    """An array of the host that never changes, in a library; moved to a GPU once while it lives.

    Hand over the same array each time, such as a cached property. Any stream may read the copy: the
    one call that makes it waits until it is there.
    """
    if not array_api_compat.is_cupy_namespace(xp):
        return xp.asarray(constant, dtype=dtype)
    dtype = np.dtype(constant.dtype if dtype is None else dtype)
    cupy = _cupy()
    key = (id(constant), dtype.char, cupy.cuda.Device().id)
    with _lock:
        if key not in _kept:
            _kept[key] = cupy.asarray(constant, dtype=dtype)
            cupy.cuda.get_current_stream().synchronize()
            weakref.finalize(constant, _kept.pop, key, None).atexit = False
        return _kept[key]


def interned(table: np.ndarray) -> np.ndarray:
    """The same array for every small table of the same content, so that it can be kept."""
    return _interned(table.tobytes(), table.dtype.str, table.shape)


@lru_cache(256)
def _interned(content: bytes, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(content, dtype).reshape(shape)


def moved(xp: Any, *arrays: Any) -> tuple[Any, ...]:
    """Arrays of the host in a library; to a GPU in one copy, as views of one piece of memory.

    Arrays that are all there already, as where a graph is recorded, are given back.
    """
    if xp is np or all(map(is_cupy, arrays)):
        return arrays
    piece, layout = packed(arrays)
    return unpacked(xp.asarray(piece), layout)


Layout = list[tuple[int, np.dtype, tuple[int, ...]]]  # first byte, type and shape of each array


def packed(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, Layout]:
    """Arrays of the host in one piece of bytes, (size,) uint8, and where each lies in it."""
    arrays = [np.asarray(x, order="C") for x in arrays]
    ends = np.cumsum([-(-x.nbytes // _ALIGNED) * _ALIGNED for x in arrays])
    starts = (0, *ends[:-1].tolist())
    piece = np.zeros(ends[-1], np.uint8)
    for x, start in zip(arrays, starts, strict=True):
        piece[start : start + x.nbytes] = x.reshape(-1).view(np.uint8)
    return piece, [(start, x.dtype, x.shape) for x, start in zip(arrays, starts, strict=True)]


def unpacked(piece: Any, layout: Layout) -> tuple[Any, ...]:
    """The arrays of :func:`packed`, as views of the piece, whose copy may lie on a GPU."""
    sizes = [math.prod(shape) * dtype.itemsize for _, dtype, shape in layout]
    return tuple(
        piece[start : start + size].view(dtype).reshape(shape)
        for (start, dtype, shape), size in zip(layout, sizes, strict=True)
    )


def fft_plans() -> list[Any]:
    """The Fourier transforms that CuPy keeps planned for this thread and device, the last used."""
    return [node.plan for _, node in _cupy().fft.config.get_plan_cache()]


def is_device_failure(error: BaseException) -> bool:
    """Whether an error is of memory or of a GPU, not of a sample: rendering again cannot help.

    After some errors of CUDA (an illegal address) the process can use the device no more.
    """
    torch = sys.modules.get("torch")
    of_torch = () if torch is None else (torch.OutOfMemoryError, torch.AcceleratorError)
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, (MemoryError, *of_torch)) or library in ("cupy", "cupy_backends")


@contextlib.contextmanager
def on_stream(
    device: int, stream: Any, allocate: Callable[[int], tuple[int, Any]]
) -> Iterator[ModuleType]:
    """Let CuPy work on a device, and on a stream and in memory that another library owns.

    ``allocate`` gives, for a number of bytes, an address and what owns it.
    """
    cupy = _cupy()

    def memory(size: int) -> Any:
        address, owner = allocate(size)
        owned = cupy.cuda.UnownedMemory(address, size, owner, device)
        return cupy.cuda.MemoryPointer(owned, 0)

    with (
        cupy.cuda.Device(device),
        cupy.cuda.Stream.from_external(stream),
        cupy.cuda.using_allocator(memory),
    ):
        yield cupy


def _cupy() -> ModuleType:
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "CUDA needs CuPy: pip install 'ipads_stream[cuda13]' (or [cuda12] for a CUDA 12 driver)"
        ) from error
    return cupy
