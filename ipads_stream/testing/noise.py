"""A network does not err more on cleaner data."""

from collections.abc import Sequence

import numpy as np

from ipads_stream.baselines import Method
from ipads_stream.core.quantity import Quantity
from ipads_stream.evaluation.familiar import expected
from ipads_stream.systems import System
from ipads_stream.systems.base import Quantified
from ipads_stream.testing.contract import ContractError

PROMISE = "its errors do not grow where there is less noise"


def check_noise(
    method: Method,
    systems: Sequence[System],
    *,
    samples: int = 500,
    seed: int = 0,
    tolerance: float = 0.05,
) -> dict[str, list[float]]:
    """Checks that the errors of a network do not grow from system to system.

        RMSE_n <= (1 + tolerance) min(RMSE_1, ..., RMSE_(n - 1)), for each quantity

    of its logarithm where that is its scale, else of the quantity in SI.

    Args:
        method: inputs to estimates; what ``load_model`` gives.
        systems: of quantities, from much noise to little, else alike: they draw the same samples.
        samples: how many of each.
        seed: of the samples.
        tolerance: by which errors may grow, of themselves.

    Returns:
        quantity -> its error in each system.

    Raises:
        ContractError: an error that grows.
    """
    from ipads_stream.evaluation.comparison import generated  # which needs torch

    errors: dict[str, list[float]] = {}
    with expected():
        for system in systems:
            assert isinstance(system, Quantified)
            inputs, truths, _ = generated(system, samples=samples, seed=seed)
            estimates = method(inputs)
            for name, quantity in system.quantities.items():
                found = _error(quantity, estimates[name], truths[name])
                before = errors.setdefault(name, [])
                if before and found > (1 + tolerance) * min(before):
                    problem = f"RMSE of {name}: {[*before, found]}"
                    call = f"check_noise(method, systems, samples={samples}, seed={seed})"
                    raise ContractError(type(method).__name__, PROMISE, problem, call)
                before.append(found)
    return errors


def _error(quantity: Quantity, estimate: np.ndarray, truth: np.ndarray) -> float:
    if quantity.scale == "log":
        inside = truth > 0
        estimate, truth = np.log(estimate[inside]), np.log(truth[inside])
    return float(np.sqrt(np.mean(np.square(estimate.astype(np.float64) - truth))))
