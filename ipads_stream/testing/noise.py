"""A network does not err more on cleaner data."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ipads_stream.core.quantity import Quantity
from ipads_stream.evaluation.familiar import expected
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.systems import System
from ipads_stream.systems.base import Quantified, Undersampled
from ipads_stream.testing.contract import ContractError

PROMISE = "its errors do not grow where there is less noise"
MASK = "mask"


def check_noise(
    method: Callable[..., Any],
    systems: Sequence[System],
    *,
    samples: int = 500,
    seed: int = 0,
    tolerance: float = 0.05,
) -> dict[str, list[float]]:
    """Checks that the errors of a network do not grow from system to system.

        error_n <= (1 + tolerance) min(error_1, ..., error_(n - 1)), for each target

    Args:
        method: what ``load_model`` gives: inputs to estimates, of signals ``fid, mask`` to signals.
        systems: of quantities or of undersampled signals, from much noise to little, else alike:
            they draw the same samples.
        samples: how many of each.
        seed: of the samples.
        tolerance: by which errors may grow, of themselves.

    Returns:
        target -> its error in each system.

    Raises:
        ContractError: an error that grows.
    """
    errors: dict[str, list[float]] = {}
    with expected():
        for system in systems:
            for name, found in errors_of(method, system, samples=samples, seed=seed).items():
                before = errors.setdefault(name, [])
                if before and found > (1 + tolerance) * min(before):
                    problem = f"error of {name}: {[*before, found]}"
                    call = f"check_noise(method, systems, samples={samples}, seed={seed})"
                    raise ContractError(type(method).__name__, PROMISE, problem, call)
                before.append(found)
    return errors


def errors_of(
    method: Callable[..., Any], system: System, *, samples: int, seed: int
) -> dict[str, float]:
    """Error of each target over a system's samples.

    Of quantities the RMSE of the values that count, of the logarithm where that is the scale, else
    in SI; of signals the median over them of the norm of the spectrum's error over its own.
    """
    from ipads_stream.evaluation.comparison import generated  # which needs torch

    inputs, truths, _ = generated(system, samples=samples, seed=seed)
    if isinstance(system, Undersampled):
        found, truth = spectrum(method(inputs["fid"], inputs[MASK])), truths["spectrum"]
        return {"spectrum": float(np.median(rlne(found, truth, axis=-1)))}
    assert isinstance(system, Quantified)
    estimates, mask = method(inputs), truths.get(MASK)
    return {
        name: _rmse(quantity, estimates[name], truths[name], mask)
        for name, quantity in system.quantities.items()
    }


def _rmse(
    quantity: Quantity, estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray | None
) -> float:
    inside = np.ones(truth.shape, bool) if mask is None else np.asarray(mask, bool)
    if quantity.scale == "log":
        inside = inside & (truth > 0)
        estimate, truth = np.log(estimate[inside]), np.log(truth[inside])
    else:
        estimate, truth = estimate[inside], truth[inside]
    return float(np.sqrt(np.mean(np.square(estimate.astype(np.float64) - truth))))
