"""Promises, how they are checked and reported, and what several suites compare."""

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from ipads_stream.core.backend import resolve_device
from ipads_stream.core.description import config_hash, describe

SINGLE = 2e-3  # relative error that single precision may have
STEP, SLOPE = 1e-6, 1e-4  # of finite differences, over the argument; their relative error

Arrays = Mapping[str, Any]


class ContractError(AssertionError):
    """A promise of its kind that an object breaks.

    Args:
        subject: the object.
        promise: what every member of its kind does.
        problem: what came instead.
        see: the call that shows it.
    """

    def __init__(self, subject: str, promise: str, problem: str, see: str) -> None:
        self.subject, self.promise, self.problem, self.see = subject, promise, problem, see
        super().__init__(f"{subject}: {promise}: {problem}\n  see {see}")


@dataclass
class Report:
    """What a suite looked at.

    Attributes:
        subject: the object.
        checked: promises that it keeps.
        skipped: promises that were not checked, and why.
    """

    subject: str
    checked: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.subject}: {len(self.checked)} promises kept"]
        lines += [f"  kept     {promise}" for promise in self.checked]
        return "\n".join(lines + [f"  skipped  {p}: {why}" for p, why in self.skipped.items()])


# Of a case: why a promise cannot be checked there, or None.
Need = Callable[[Any], str | None]


@dataclass(frozen=True)
class Promise:
    """What every member of a kind does: ``check`` raises what :func:`require` does.

    ``see`` is the call that shows it; without its ``needs`` it is skipped.
    """

    text: str
    check: Callable[[Any], None]
    see: str
    needs: tuple[Need, ...] = ()


class Broken(Exception):  # noqa: N818 - a ContractError once the promise is known
    """What came instead of what was promised."""


def require(condition: Any, problem: str) -> None:
    """Raises the problem unless the condition holds."""
    if not condition:
        raise Broken(problem)


def examine(subject: Any, case: Any, promises: Sequence[Promise]) -> Report:
    """Checks the promises of a kind on a case, which they read; raises the first broken one."""
    name = getattr(subject, "__name__", type(subject).__qualname__)
    report = Report(name)
    for promise in promises:
        reasons = [reason for need in promise.needs if (reason := need(case)) is not None]
        if reasons:
            report.skipped[promise.text] = reasons[0]
            continue
        try:
            promise.check(case)
        except Broken as broken:
            raise ContractError(name, promise.text, str(broken), promise.see) from None
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            raise ContractError(name, promise.text, problem, promise.see) from error
        report.checked.append(promise.text)
    return report


def given(name: str) -> Need:
    """An argument of the suite."""
    return lambda case: None if getattr(case, name) is not None else f"{name}= was not given"


def module(name: str) -> Need:
    """An installed module."""
    return lambda case: None if importlib.util.find_spec(name) else f"{name} is not installed"


def gpu(case: Any) -> str | None:
    """A GPU, or what stands in for one, that CuPy sees."""
    return None if resolve_device("auto") == "cuda" else "CuPy is not installed, or finds no GPU"


def dataclass_of(name: str) -> Need:
    """An attribute of the case that is a dataclass, so that YAML can name it."""
    return lambda case: None if is_dataclass(getattr(case, name)) else "no dataclass"


def same_rows(whole: Arrays, rows: Sequence[int], part: Arrays) -> None:
    """That rows of a batch are, bit by bit, what was made of them alone."""
    require(whole.keys() == part.keys(), f"{sorted(part)} instead of {sorted(whole)}")
    for name, values in whole.items():
        expected, alone = np.asarray(values)[list(rows)], np.asarray(part[name])
        same = expected.shape == alone.shape and np.array_equal(expected, alone, equal_nan=True)
        require(same, f"{name} of samples {list(rows)} differs from that in a batch")


def finite(arrays: Arrays, count: int) -> None:
    """That arrays hold finite numbers, one row a sample."""
    for name, values in arrays.items():
        array = np.asarray(values)
        has_rows = array.ndim > 0 and len(array) == count
        require(has_rows, f"{name} has shape {array.shape}; its first axis counts {count} samples")
        require(array.dtype.kind in "fciub", f"{name} is of type {array.dtype}")
        require(np.isfinite(array).all(), f"{name} is not finite")


def close(values: Any, expected: Any, tolerance: float, name: str) -> None:
    """That an array has its shape and, over the norm of all of it, a small error."""
    values, expected = np.asarray(values), np.asarray(expected)
    shapes = f"{values.shape}, not {expected.shape}"
    require(values.shape == expected.shape, f"{name} has shape {shapes}")
    size = max(float(np.linalg.norm(expected)), 1e-30)
    error = float(np.linalg.norm(values - expected)) / size
    require(error <= tolerance, f"{name} has a relative error of {error:.2g}")


def check_plain_data(thing: Any) -> None:
    """That the YAML of a frozen dataclass builds its equal."""
    from ipads_stream.config import instantiate

    package = type(thing).__module__.partition(".")[0]
    again = instantiate(describe(thing), trusted=[] if package == "ipads_stream" else [package])
    require(config_hash(again) == config_hash(thing), "the hash of its copy is another")
    require(again == thing, "its copy is not equal")
    try:
        setattr(thing, fields(thing)[0].name, None)
    except FrozenInstanceError:
        return
    raise Broken("its fields can be set; allowed: @dataclass(frozen=True)")


def double(x: np.ndarray) -> np.ndarray:
    """In double precision, whole numbers as they are."""
    return x.astype({"f": np.float64, "F": np.complex128}.get(x.dtype.char, x.dtype))


def check_gradient(function: Callable[[dict[str, Any]], Any], arguments: Arrays) -> None:
    """That torch's slope of a random projection along each argument (float64) is that of
    differences."""
    import torch

    varied = [name for name, x in arguments.items() if x.dtype.kind in "fc" and x.size]
    tensors = {name: torch.tensor(x, requires_grad=name in varied) for name, x in arguments.items()}
    result = function(tensors)
    require(result.requires_grad, "torch sees no gradient")
    rng = np.random.Generator(np.random.Philox(0))
    shown: Any = rng.normal(size=tuple(result.shape))
    if result.is_complex():
        shown = shown + 1j * rng.normal(size=shown.shape)
    projected = torch.real(torch.sum(torch.as_tensor(shown, dtype=result.dtype) * result))
    slopes = torch.autograd.grad(projected, [tensors[n] for n in varied], allow_unused=True)

    def value(name: str, x: np.ndarray) -> float:
        return float(np.real(np.sum(shown * np.asarray(function({**arguments, name: x})))))

    for name, slope in zip(varied, slopes, strict=True):
        x = arguments[name]
        along = rng.choice([-1.0, 1.0], size=x.shape) * abs(x)  # zeros may be the end of a range
        expected = (value(name, x + STEP * along) - value(name, x - STEP * along)) / (2 * STEP)
        torchs = 0.0 if slope is None else float(np.sum(np.real(slope.numpy().conj() * along)))
        rounding = 1e-14 * abs(value(name, x)) / STEP + 1e-9
        error = abs(torchs - expected)
        require(error <= SLOPE * max(abs(expected), abs(torchs)) + rounding,
                f"along {name} torch gives {torchs:.6g}, differences {expected:.6g}")  # fmt: skip
