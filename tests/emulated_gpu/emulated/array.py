"""``cupy.ndarray`` over NumPy: as strict as CuPy, and counted.

Arrays of NumPy are refused wherever CuPy does not take them by name (``asarray``, ``array``,
``set``); the results are those of NumPy 2, whose promotion CuPy 14 has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from emulated import order
from emulated.counts import counting
from emulated.graphs import capturing
from emulated.order import Memory
from emulated.signatures import OFFERED, bind

POISON = 0xAB  # every byte of whole numbers in memory that nobody wrote


class ndarray:
    """An array on the device; ``_host`` holds its values."""

    __slots__ = ("__weakref__", "_host", "_keeps", "_memory")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None) -> None:
        raise NotImplementedError("the stand-in makes arrays by functions only")

    # Attributes

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: call("T", lambda x: x.T, (self,)))
    mT = property(lambda self: call("mT", lambda x: np.matrix_transpose(x), (self,)))
    real = property(lambda self: call(".real", lambda x: x.real, (self,)))
    imag = property(lambda self: call(".imag", lambda x: x.imag, (self,)))

    @property
    def device(self) -> Any:
        from emulated.cuda import Device

        return Device(self._memory.device)

    @property
    def data(self) -> Any:
        from emulated.cuda import MemoryPointer

        return MemoryPointer.at(self._host.ctypes.data, self)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    # To the host: each is a synchronisation

    def get(self, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
        return self._to_host("get").copy()

    def item(self) -> Any:
        return self._to_host("item").item()

    def tolist(self) -> Any:
        return self._to_host("tolist").tolist()

    def __bool__(self) -> bool:
        return bool(self._to_host("bool"))

    def __int__(self) -> int:
        return int(self._to_host("int"))

    def __float__(self) -> float:
        return float(self._to_host("float"))

    def __complex__(self) -> complex:
        return complex(self._to_host("complex"))

    def __index__(self) -> int:
        return self._to_host("index").__index__()

    def __repr__(self) -> str:
        return repr(self._to_host("repr"))

    def __format__(self, spec: str) -> str:
        return format(self._to_host("format"), spec)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct "
            "a NumPy array explicitly."
        )

    def _to_host(self, what: str) -> np.ndarray:
        stream = order.stream_of("cupy")
        order.check(self._memory, stream, order.current.device)
        order.synchronised(stream)
        counting.synchronise(what)
        return self._host

    # From the host

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        counting.upload(arr.tobytes(), "set")
        call("set", lambda x: np.copyto(x, arr, casting="no"), (self,), writes=(self,), launches=0)

    # Indexing

    def __getitem__(self, index: Any) -> ndarray:
        if _has_mask(index):
            order.synchronised(order.stream_of("cupy"))
            counting.synchronise("boolean index")
        return call("getitem", lambda x, at: np.asarray(x[at]), (self, _index(index)))

    def __setitem__(self, index: Any, value: Any) -> None:
        if _has_mask(index) and isinstance(value, ndarray) and value.ndim:
            order.synchronised(order.stream_of("cupy"))
            counting.synchronise("boolean index")

        def assign(x: Any, at: Any, new: Any) -> None:
            x[at] = new

        call("setitem", assign, (self, _index(index), value), writes=(self,))

    # Conversions that share memory with torch

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._memory.device

    # NumPy's functions on arrays of the device are CuPy's

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from emulated.namespace import cupy

        if method != "__call__" or not hasattr(cupy, ufunc.__name__):
            return NotImplemented
        return getattr(cupy, ufunc.__name__)(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from emulated.namespace import cupy

        module = cupy
        for part in func.__module__.split(".")[1:]:
            module = getattr(module, part, cupy)
        if not hasattr(module, func.__name__):
            return NotImplemented
        return getattr(module, func.__name__)(*args, **kwargs)


def _index(index: Any) -> Any:
    """The index; lists become arrays of the device, as CuPy makes them."""
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    if isinstance(index, list):
        counting.upload(np.asarray(index).tobytes(), "list as index")
        return np.asarray(index).view(_Uploaded)
    return index


def _has_mask(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(x, ndarray) and x.dtype == bool for x in parts)


class _Uploaded(np.ndarray):
    """What was uploaded on the way, and is no mixing."""


def wrapped(host: np.ndarray, memory: Memory | None = None, keeps: Any = None) -> ndarray:
    """An array of the device with these values, in memory of its own unless another is given."""
    array = ndarray.__new__(ndarray)
    array._host, array._keeps = host, keeps
    if memory is None:
        stream = order.stream_of("cupy")
        memory = Memory(order.current.device, "cupy", stream, order.tick(stream))
        counting.allocate(host.nbytes)
        if order.current.allocators:
            array._keeps = order.current.allocators[-1](host.nbytes)
    array._memory = memory
    return array


def unwrapped(x: Any, seen: list[ndarray]) -> Any:
    """Values for NumPy; TypeError where CuPy would refuse the argument."""
    if isinstance(x, ndarray):
        seen.append(x)
        return x._host
    if isinstance(x, list | tuple):
        values = [unwrapped(each, seen) for each in x]
        return type(x)(values) if type(x) in (list, tuple) else x
    if isinstance(x, float) and not isinstance(x, np.generic):
        return float(x)  # a number of a chain, which follows the array's precision as any other
    if isinstance(x, np.ndarray) and not isinstance(x, _Uploaded):
        raise TypeError(f"Unsupported type {type(x)}: an array of NumPy among those of CuPy")
    if type(x).__module__.partition(".")[0] == "torch" and hasattr(x, "data_ptr"):
        raise TypeError(f"Unsupported type {type(x)}")
    return x


# Functions beside those that CuPy calls ufuncs that may stand in an element-wise chain.
FUSED = ("where", "real", "imag", "angle", "astype")


def call(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    writes: tuple[ndarray, ...] = (),
    launches: int = 1,
) -> Any:
    """What a function of NumPy makes of arrays of the device, there again, counted and ordered."""
    if counting.in_chain and name not in OFFERED["modules"]["cupy"]["ufuncs"] and name not in FUSED:
        raise TypeError(f"no element-wise chain: {name}")
    seen: list[ndarray] = []
    out = (kwargs or {}).get("out")
    outs = () if out is None else out if isinstance(out, tuple) else (out,)
    values = [unwrapped(x, seen) for x in args]
    named = {key: unwrapped(x, seen) for key, x in (kwargs or {}).items()}
    stream, device = order.stream_of("cupy"), order.current.device
    for each in seen:
        order.check(each._memory, stream, device)
    writes = (*writes, *outs)
    graph = capturing(name, stream, len(seen))
    before = [(x._host, x._host.copy()) for x in writes] if graph else []
    with np.errstate(all="ignore"):  # a device warns of nothing
        result = function(*values, **named)
    if writes:
        now = order.tick(stream)
        for each in writes:
            each._memory.stream, each._memory.tick = stream, now
    fresh: list[ndarray] = []

    def back(x: Any) -> Any:
        if isinstance(x, np.generic):
            x = np.asarray(x)
        if isinstance(x, np.ndarray):
            for each in (*outs, *seen):
                if x is each._host:
                    return each
            for each in seen:
                if np.may_share_memory(x, each._host) and x.size:
                    return wrapped(x, each._memory, each._keeps)
            fresh.append(wrapped(x))
            return fresh[-1]
        if isinstance(x, tuple) and hasattr(x, "_fields"):
            return type(x)(*map(back, x))
        return type(x)(map(back, x)) if isinstance(x, list | tuple) else x

    given = back(result)
    if graph and (fresh or writes):
        for memory, was in before:
            memory[...] = was

        def run() -> None:
            with np.errstate(all="ignore"):
                again = _leaves(function(*values, **named))
            for x in fresh:
                x._host[...] = next(y for y, z in zip(again, leaves, strict=True) if z is x)

        leaves = _leaves(given)
        written = [x._memory for x in (*fresh, *writes)]
        graph.note(run, [x._memory for x in seen], written, [x._host for x in fresh])
    elif fresh or writes:
        counting.launch(name, launches)
    return given


def _leaves(x: Any) -> list[Any]:
    return [y for each in x for y in _leaves(each)] if isinstance(x, list | tuple) else [x]


def _method(name: str) -> Callable[..., Any]:
    signature = OFFERED["methods"][name]

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        bind(f"ndarray.{name}", signature, args, kwargs)
        if name in SYNCHRONISE:
            counting.synchronise(name)
        kwargs = {key: x for key, x in kwargs.items() if key != "blocking" and x is not None}
        return call(name, lambda x, *a, **k: getattr(x, name)(*a, **k), (self, *args), kwargs,
                    writes=(self,) if name in IN_PLACE else ())  # fmt: skip

    method.__name__ = name
    return method


SYNCHRONISE = ("nonzero",)
IN_PLACE = ("fill", "sort", "partition", "put")
METHODS = (
    "all", "any", "argmax", "argmin", "argpartition", "argsort", "astype", "choose", "clip",
    "compress", "conj", "conjugate", "copy", "cumprod", "cumsum", "diagonal", "dot", "fill",
    "flatten", "max", "mean", "min", "nonzero", "partition", "prod", "put", "ravel", "repeat",
    "reshape", "round", "searchsorted", "sort", "squeeze", "std", "sum", "swapaxes", "take",
    "trace", "transpose", "var", "view",
)  # fmt: skip
for _name in METHODS:
    setattr(ndarray, _name, _method(_name))

BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "true_divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "left_shift", "rshift": "right_shift",
    "matmul": "matmul",
}  # fmt: skip
COMPARED = ("lt", "less"), ("le", "less_equal"), ("gt", "greater"), ("ge", "greater_equal"), (
    "eq", "equal"), ("ne", "not_equal")  # fmt: skip


def _operator(name: str, *, reflected: bool = False, in_place: bool = False) -> Callable[..., Any]:
    def operator(self: ndarray, other: Any) -> Any:
        from emulated.namespace import cupy

        if not isinstance(other, ndarray | np.generic | int | float | complex):
            if isinstance(other, np.ndarray):
                raise TypeError(f"Unsupported type {type(other)}: {name} of CuPy and NumPy")
            return NotImplemented
        pair = (other, self) if reflected else (self, other)
        function = getattr(cupy, name)
        return function(*pair, out=self) if in_place else function(*pair)

    return operator


for _name, _function in BINARY.items():
    setattr(ndarray, f"__{_name}__", _operator(_function))
    setattr(ndarray, f"__r{_name}__", _operator(_function, reflected=True))
    setattr(ndarray, f"__i{_name}__", _operator(_function, in_place=True))
for _name, _function in COMPARED:
    setattr(ndarray, f"__{_name}__", _operator(_function))


def _unary(name: str) -> Callable[..., Any]:
    def operator(self: ndarray) -> Any:
        from emulated.namespace import cupy

        return getattr(cupy, name)(self)

    return operator


for _name, _function in (("neg", "negative"), ("pos", "positive"), ("abs", "absolute"),
                         ("invert", "invert")):  # fmt: skip
    setattr(ndarray, f"__{_name}__", _unary(_function))
ndarray.__module__ = "cupy"
