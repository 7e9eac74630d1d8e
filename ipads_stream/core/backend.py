"""The one place that knows the array libraries: NumPy, CuPy, torch and all of the array API.

CuPy is imported inside functions only, torch never (see handover.py): neither is needed on the CPU.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from ipads_stream.core.errors import ConfigError

_THREADS = 128
_modules: dict[tuple[int, str, tuple[str, ...]], Any] = {}
_lock = threading.Lock()


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
    """``cpu`` or ``cuda``; ``auto`` takes CUDA where CuPy is installed and sees a GPU."""
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError("device", device, "auto, cpu or cuda")
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
            GPU.
    """
    if resolve_device(device) == "cpu":
        return np
    try:
        cupy = _cupy()
    except ModuleNotFoundError as error:
        raise ConfigError("device", device, f"cpu here ({error})") from error
    if not cupy.cuda.is_available():
        raise ConfigError("device", device, "cpu here (CuPy finds no GPU or no driver)")
    return cupy


def cuda_module(path: Path, options: tuple[str, ...] = ()) -> Any:
    """The compiled CUDA text of a file, one per device, text and options."""
    cupy = _cupy()
    text = Path(path).read_text()
    key = (cupy.cuda.Device().id, hashlib.sha256(text.encode()).hexdigest(), tuple(options))
    with _lock:
        if key not in _modules:
            _modules[key] = cupy.RawModule(code=text, options=("-std=c++17", *options))
        return _modules[key]


def launch(module: Any, name: str, num_items: int, *arguments: Any) -> None:
    """Run one thread per item of a kernel on CuPy's current stream."""
    if num_items:
        grid = (-(-num_items // _THREADS),)
        module.get_function(name)(grid, (_THREADS,), arguments)


@contextlib.contextmanager
def on_stream(device: int, stream: Any) -> Iterator[ModuleType]:
    """Let CuPy work on a device and on a stream that another library owns."""
    cupy = _cupy()
    with cupy.cuda.Device(device), cupy.cuda.Stream.from_external(stream):
        yield cupy


def _cupy() -> ModuleType:
    try:
        import cupy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "CUDA needs CuPy: pip install 'ipads_stream[cuda13]' (or [cuda12] for a CUDA 12 driver)"
        ) from error
    return cupy
