"""The module ``cupy`` of the stand-in: every name that CuPy offers, those it needs at work."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

from emulated import order
from emulated.array import POISON, call, ndarray, wrapped
from emulated.counts import counting
from emulated.signatures import OFFERED, bind

cupy = ModuleType("cupy")
cupy.__version__ = OFFERED["version"]
# Functions whose results have a size that the host must know, or that look at values on the host.
SYNCHRONISE = {
    "nonzero", "flatnonzero", "argwhere", "unique", "unique_all", "unique_counts", "extract",
    "unique_inverse", "unique_values", "bincount", "histogram", "setdiff1d", "intersect1d",
    "union1d", "compress", "inv", "solve", "eigh", "eigvalsh", "svd", "qr", "cholesky", "lstsq",
    "pinv", "det", "slogdet", "matrix_rank",
}  # fmt: skip
COST = {"linspace": 3, "std": 3, "var": 3, "percentile": 8, "quantile": 8, "median": 6,
        "einsum": 3, "fftshift": 3, "ifftshift": 3, "roll": 2}  # fmt: skip
# Arguments of CuPy alone, which change no value.
OWN = ("blocking",)


class ufunc:
    """An element-wise function with the types that CuPy has it for."""

    def __init__(self, name: str, types: str) -> None:
        self.__name__, self.types = name, types.split()
        self._numpy = getattr(np, name, None)
        self.nin = len(self.types[0].partition("->")[0])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        allowed = {"out", "dtype", "casting"}
        if not kwargs.keys() <= allowed:
            raise TypeError(f"cupy.{self.__name__} takes no {sorted(kwargs.keys() - allowed)}")
        if self._numpy is None:
            raise NotImplementedError(f"the stand-in lacks cupy.{self.__name__}")
        if not any(isinstance(x, ndarray) for x in args):
            if any(isinstance(x, np.ndarray) for x in args):
                raise TypeError(f"cupy.{self.__name__} of an array of NumPy")
            counting.upload(repr(args).encode(), "scalar")
        if not isinstance(kwargs.get("out"), ndarray | None | tuple):
            raise TypeError(f"cupy.{self.__name__}: out must be an array of CuPy")
        result = call(self.__name__, self._numpy, args, kwargs)
        self._check(args, result)
        return result

    def _check(self, args: tuple[Any, ...], result: Any) -> None:
        """That CuPy has a loop for these types, and that it gives what NumPy gave."""
        dtypes = [x.dtype for x in args if isinstance(x, ndarray | np.generic)]
        first = result[0] if isinstance(result, tuple) else result
        if len(dtypes) < self.nin or not isinstance(first, ndarray):
            return
        for loop in self.types:
            inputs, _, outputs = loop.partition("->")
            if all(np.can_cast(d, c) for d, c in zip(dtypes, inputs, strict=True)):
                if np.dtype(outputs[0]) != first.dtype and len(set(dtypes)) == 1:
                    raise TypeError(f"cupy.{self.__name__}: {loop}, but NumPy gave {first.dtype}")
                return
        raise TypeError(f"cupy.{self.__name__} does not support {dtypes}")


def _poisoned(array: ndarray) -> ndarray:
    """Memory that nobody has written yet."""
    if array.dtype.kind in "fc":
        array._host[...] = np.nan
    else:
        array._host.reshape(-1).view(np.uint8)[...] = POISON
    return array


def _uploaded(a: Any, dtype: Any, order_: str | None) -> ndarray:
    """An array of the host, or numbers, on the device."""
    if _holds_arrays(a):  # a list of arrays of the device
        return cupy.stack([x if isinstance(x, ndarray) else cupy.asarray(x) for x in a]).astype(
            dtype or np.result_type(*(x.dtype for x in a if isinstance(x, ndarray))), copy=False
        )
    host = np.array(a, dtype=dtype, order=order_ or "K", copy=True)
    if host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    counting.upload(host.tobytes() + str((host.dtype, host.shape)).encode(), f"{host.shape}")
    return wrapped(host)


def _holds_arrays(a: Any) -> bool:
    return isinstance(a, list | tuple) and any(
        isinstance(x, ndarray) or _holds_arrays(x) for x in a
    )


def array(obj: Any, dtype: Any = None, copy: Any = True, order: Any = "K", subok: bool = False,
          ndmin: int = 0, *, blocking: bool = False) -> ndarray:  # fmt: skip
    if hasattr(obj, "__cuda_array_interface__") and not isinstance(obj, ndarray):
        raise NotImplementedError("the stand-in takes tensors by from_dlpack only")
    if isinstance(obj, ndarray):
        return call("array", lambda x: np.array(x, dtype=dtype, copy=copy or None, order=order,
                                                ndmin=ndmin), (obj,))  # fmt: skip
    made = _uploaded(obj, dtype, order)
    return made if made.ndim >= ndmin else made.reshape((1,) * (ndmin - made.ndim) + made.shape)


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None,
            blocking: bool = False) -> ndarray:  # fmt: skip
    return array(a, dtype, copy=copy, order=order or "K")


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None, *,
            blocking: bool = True) -> np.ndarray:  # fmt: skip
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return _poisoned(wrapped(np.empty(shape, dtype, order)))


def empty_like(prototype: Any, dtype: Any = None, order: str = "K", subok: Any = None,
               shape: Any = None) -> ndarray:  # fmt: skip
    return empty(prototype.shape if shape is None else shape, dtype or prototype.dtype)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    if not isinstance(a, ndarray):
        raise TypeError(f"ascontiguousarray takes an array of CuPy, got {type(a)}")
    return call(
        "ascontiguousarray", lambda x: np.ascontiguousarray(x, dtype).reshape(x.shape), (a,)
    )


def where(condition: Any, x: Any = None, y: Any = None) -> Any:
    if x is None and y is None:
        counting.synchronise("where")
        return call("where", np.where, (condition,))
    return call("where", np.where, (condition, x, y))


def clip(a: Any, a_min: Any, a_max: Any, out: Any = None) -> ndarray:
    return call("clip", np.clip, (a, a_min, a_max), {} if out is None else {"out": out})


def get_array_module(*args: Any) -> ModuleType:
    return cupy if any(isinstance(x, ndarray) for x in args) else np


def from_dlpack(array: Any, *, device: Any = None, copy: Any = None) -> ndarray:
    """A tensor's memory; CuPy's stream waits for torch's, as the protocol has it."""
    from emulated.torch_side import host_of, memory_of

    memory = memory_of(array)
    if memory is None:
        raise BufferError("from_dlpack: a tensor of the host")
    if array.requires_grad:
        raise BufferError("Can't export tensors that require gradient")
    order.wait(order.stream_of("cupy"), order.snapshot(order.stream_of("torch")))
    return wrapped(host_of(array), memory, keeps=array)


class Number(float):
    """An argument of a chain that is no array; two of them CuPy would bring to float64."""

    def _refuse(self, other: Any) -> Any:
        if isinstance(other, ndarray):
            return NotImplemented
        raise TypeError(f"no element-wise chain of one precision: {self} and {other}")

    __neg__ = __pos__ = __abs__ = lambda self: self._refuse(self)
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _refuse


def fuse(*, kernel_name: str) -> Any:
    """A chain of element-wise functions as one launch."""

    def fused(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            if not all(isinstance(x, ndarray | float) for x in given):
                raise TypeError(f"a chain takes arrays of CuPy and floats, not {given}")
            with counting.chain():
                result = function(*(Number(x) if isinstance(x, float) else x for x in given))
            counting.launch(kernel_name)
            return result

        return run

    return fused


def _function(module: str, name: str, written: str | None) -> Callable[..., Any]:
    home = np if module == "cupy" else getattr(np, module.partition(".")[2])
    function = getattr(home, name, None)

    def offered(*args: Any, **kwargs: Any) -> Any:
        if function is None:
            raise NotImplementedError(f"the stand-in lacks {module}.{name}")
        bind(name, written, args, kwargs)
        if name in SYNCHRONISE:
            order.synchronised(order.stream_of("cupy"))
            counting.synchronise(name)
        kwargs = {key: x for key, x in kwargs.items() if key not in OWN}
        cost = 1 if name == "einsum" and len(args) == 2 else COST.get(name, 1)  # a sum
        result = call(name, function, args, kwargs, launches=cost)
        if isinstance(result, bool) and name in ("array_equal", "allclose"):
            return wrapped(np.asarray(result))
        return result

    offered.__name__ = name
    return offered


HAND_WRITTEN = (array, asarray, asnumpy, empty, empty_like, ascontiguousarray, where, clip,
                get_array_module, from_dlpack, fuse)  # fmt: skip


def _build(module: ModuleType, name: str) -> None:
    own = {f.__name__: f for f in HAND_WRITTEN} if module is cupy else {}
    home = np if module is cupy else getattr(np, name.partition(".")[2])
    offered = OFFERED["modules"][name]
    for each, types in offered["ufuncs"].items():
        setattr(module, each, ufunc(each, types))
    for each, written in offered["functions"].items():
        setattr(module, each, own.get(each) or _function(name, each, written))
    for each in offered["others"].split():
        if hasattr(home, each) and each not in ("fft", "linalg", "random", "testing", "ufunc"):
            setattr(module, each, getattr(home, each))


_build(cupy, "cupy")
cupy.ndarray, cupy.ufunc = ndarray, ufunc
for _name in ("fft", "linalg"):
    _module = ModuleType(f"cupy.{_name}")
    _build(_module, f"cupy.{_name}")
    setattr(cupy, _name, _module)
# Constants whose names NumPy 2 dropped, and types that are functions there.
cupy.bool = np.bool_


def _finish() -> None:
    from emulated import cuda, kernels

    cupy.cuda = cuda.module
    cupy.RawModule = kernels.RawModule
    cupy.fft.config = ModuleType("cupy.fft.config")
    cupy.fft.config.get_plan_cache = dict[Any, Any]  # by key: a node with its plan; none here
    cupy.get_default_memory_pool = cuda.get_default_memory_pool


_finish()
cupy.__spec__ = ModuleSpec("cupy", None)
MODULES = {
    "cupy": cupy, "cupy.fft": cupy.fft, "cupy.linalg": cupy.linalg, "cupy.cuda": cupy.cuda,
    "cupy.cuda.device": cupy.cuda.device,
}  # fmt: skip
