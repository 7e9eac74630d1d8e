"""What every function of arrays, a signal or a field, promises."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_namespace, is_cupy
from ipads_stream.testing.contract import (
    SINGLE,
    Promise,
    Report,
    check_gradient,
    close,
    double,
    examine,
    finite,
    given,
    gpu,
    module,
    require,
    same_rows,
)

_SINGLE: dict[str, type] = {"d": np.float32, "D": np.complex64}


@dataclass(frozen=True)
class _Case:
    simulator: Callable[..., Any]
    arguments: Mapping[str, np.ndarray]
    formula: Callable[..., Any] | None
    tolerance: float
    rounding: float

    def result(self, change: Callable[[np.ndarray], Any]) -> Any:
        return self.simulator(**{name: change(x) for name, x in self.arguments.items()})

    @cached_property
    def whole(self) -> np.ndarray:
        return np.asarray(self.result(np.copy))


def check_simulator(
    simulator: Callable[..., Any],
    arguments: Mapping[str, np.ndarray],
    *,
    formula: Callable[..., Any] | None = None,
    tolerance: float = 1e-5,
    rounding: float = 0.0,
) -> Report:
    """Checks all that a function of arrays promises.

    Args:
        simulator: called with the arguments by name; fix all others with functools.partial.
        arguments: NumPy arrays, batch axis first, SI.
        formula: the same written another way, such as the formula of a kernel.
        tolerance: relative, between the two, and between NumPy and other libraries.
        rounding: relative, that a sample may differ by in another batch; 0: by no bit.

    Raises:
        ContractError: a broken promise.
    """
    arrays = {name: double(np.asarray(x)) for name, x in arguments.items()}
    name = getattr(simulator, "func", simulator)  # of a partial
    return examine(name, _Case(simulator, arrays, formula, tolerance, rounding), _PROMISES)


def _simulates(case: _Case) -> None:
    finite({"the result": case.whole}, len(next(iter(case.arguments.values()))))


def _pure(case: _Case) -> None:
    count = len(case.whole)
    for rows in ([0], [count - 1], list(range(count))[::-1]):
        part = case.result(itemgetter(rows))
        if case.rounding == 0:
            same_rows({"the result": case.whole}, rows, {"the result": part})
        close(part, case.whole[rows], case.rounding, f"the result of samples {rows}")


def _leaves_arguments(case: _Case) -> None:
    copies = {name: x.copy() for name, x in case.arguments.items()}
    case.simulator(**copies)
    for name, x in case.arguments.items():
        require(np.array_equal(copies[name], x, equal_nan=True), f"it writes to {name}")


def _as_single(x: np.ndarray) -> np.ndarray:
    return x.astype(_SINGLE.get(x.dtype.char, x.dtype))


def _precision(case: _Case) -> None:
    kind = case.whole.dtype
    require(kind.char in _SINGLE or kind.kind in "iub", f"double precision gives {kind}")
    single = np.asarray(case.result(_as_single))
    require(single.dtype == _SINGLE.get(kind.char, kind), f"single precision gives {single.dtype}")
    close(single, case.whole, SINGLE, "the result in single precision")


def _in_library(case: _Case, name: str) -> None:
    library = importlib.import_module(name)
    result = case.result(library.asarray)
    home = type(result).__module__
    require(home.startswith(name), f"arrays of {name} give one of {home}")
    close(result, case.whole, case.tolerance, f"the result of {name}")


def _on_gpu(case: _Case) -> None:
    xp = device_namespace("cuda")
    result = case.result(xp.asarray)
    require(is_cupy(result), f"arrays of CuPy give {type(result).__name__}")
    close(result.get(), case.whole, case.tolerance, "the result of a GPU")


def _formula(case: _Case) -> None:
    assert case.formula is not None
    for precision, tolerance in ((np.copy, case.tolerance), (_as_single, SINGLE)):
        arguments = {name: precision(x) for name, x in case.arguments.items()}
        close(case.simulator(**arguments), case.formula(**arguments), tolerance, "the result")


_PROMISES = [
    Promise("every sample has a finite result", _simulates, "simulator(**arguments)"),
    Promise("results do not depend on batch and order", _pure,
            "simulator(**arguments) of one sample and of several"),
    Promise("arguments stay as they were", _leaves_arguments, "simulator(**arguments)"),
    Promise("the precision is kept", _precision, "simulator(**arguments) in float32"),
    Promise("torch agrees with NumPy", lambda case: _in_library(case, "torch"),
            "simulator(**arguments) of tensors", (module("torch"),)),
    Promise("a strict array library agrees with NumPy",
            lambda case: _in_library(case, "array_api_strict"),
            "simulator(**arguments) of array_api_strict", (module("array_api_strict"),)),
    Promise("a GPU agrees with NumPy", _on_gpu, "simulator(**arguments) of CuPy", (gpu,)),
    Promise("it is its formula", _formula, "simulator(**arguments), formula(**arguments)",
            (given("formula"),)),
    Promise("gradients are its differences",
            lambda case: check_gradient(lambda x: case.simulator(**x), case.arguments),
            "simulator(**arguments) of tensors", (module("torch"),)),
]  # fmt: skip
