"""How well noisy signals can be reconstructed at all: an efficient estimator that knows the lines.

    python experiments/efficient_lines.py

For the noisy tests of conf/shift/fig4.yaml: an unbiased estimator of amplitude, phase, frequency
and decay of every line, told how many lines there are, errs by J C^(1/2) z with C the Cramer-Rao
covariance from the measured points, J the derivatives of the whole signal and z standard normal.
Its errors, by the metrics of the study, are those of maximum likelihood in the limit of little
noise. Written to experiments/results/fig4-efficient.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ipads_stream.config import compose
from ipads_stream.core import random
from ipads_stream.core.files import write_text
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.metrics import rlne
from ipads_stream.evaluation.tasks.signals.scores import BESIDE, LOW, is_low, peak_errors
from ipads_stream.physics.cramer_rao import fisher_information
from ipads_stream.physics.spectroscopy.spectrum import fid as fid_of
from ipads_stream.shift.reading import read_study

RESULTS = Path(__file__).parent / "results"


def median_peak_errors(
    errors: Float[np.ndarray, "signals peaks"],
    amplitude: Float[np.ndarray, "signals peaks"],
    *,
    low: float = LOW,
    beside: float = BESIDE,
) -> dict[str, float]:
    """Give the median error of low peaks and that of all peaks from `low` up, NaN without any.

    Args:
        errors: of :func:`peak_errors`, dimensionless, (signals, peaks).
        amplitude: any unit, (signals, peaks); 0 where there is no peak.
        low: unit of `amplitude`.
        beside: unit of `amplitude`; see :func:`is_low`.

    Returns:
        "low" and "high": medians; "num_low" and "num_high": peaks behind them.
    """
    chosen = {"low": is_low(amplitude, low=low, beside=beside), "high": amplitude >= low}
    found = {}
    for name, at in chosen.items():
        found[name] = float(np.median(errors[at])) if at.any() else float("nan")
        found[f"num_{name}"] = float(at.sum())
    return found


def main() -> int:
    study = read_study(compose(["shift=fig4"], name="shift"))
    found = {}
    for test in study.tests:
        system = study.test_system(test)
        if system.snr is None:
            continue
        sample = study.scoring.draw(system, samples=study.samples, seed=study.test_seed)
        full = fid_of(sample.targets["spectrum"].numpy()).astype(np.complex128)
        mask, params = sample.inputs["mask"].numpy(), sample.params
        height = np.abs(sample.targets["spectrum"].numpy()).max(axis=1)
        estimate = full + efficient_errors(params, mask, height / params["snr"], study.test_seed)
        peaks = peak_errors(
            estimate, full, params["amplitude"], params["frequency"], params["decay"]
        )
        medians = median_peak_errors(peaks, params["amplitude"])
        errors = rlne(estimate, full, axis=-1)
        found[test] = {"rlne": float(np.median(errors)), **medians}
        print(test, found[test])
    write_text(RESULTS / "fig4-efficient.json", json.dumps(found, indent=1) + "\n")
    return 0


def efficient_errors(
    params: dict[str, np.ndarray], mask: np.ndarray, sigma: np.ndarray, seed: int
) -> np.ndarray:
    """Errors of the whole signals, complex (signals, points).

    Args:
        params: amplitude, frequency (Hz), phase (rad), decay (s), each (signals, peaks).
        mask: True where measured, (signals, points).
        sigma: standard deviation of the complex noise of a point, (signals,).
        seed: of z.
    """
    time = np.arange(mask.shape[1])
    keys = Keys(seed, "efficient", np.arange(len(mask), dtype=np.uint64))
    z = random.normal(keys["z"], (4 * params["amplitude"].shape[1],), np)
    errors = np.zeros(mask.shape, np.complex128)
    for row, measured in enumerate(mask):
        there = params["amplitude"][row] > 0
        a, f, phase, T = (
            params[name][row, there][:, None]
            for name in ("amplitude", "frequency", "phase", "decay")
        )
        line = a * np.exp(1j * phase + 2j * np.pi * f * time - time / T)
        # By log a, phase, f T and log 1/T, whose scales are alike.
        slopes = [line, 1j * line, 2j * np.pi * time / T * line, -time / T * line]
        jacobian = np.concatenate(slopes).T
        fisher = fisher_information(jacobian[measured], float(sigma[row]) / np.sqrt(2))
        values, axes = np.linalg.eigh(fisher)
        kept = values > 1e-12 * values.max()
        spread = axes[:, kept] / np.sqrt(values[kept])
        errors[row] = jacobian @ (spread @ z[row, : kept.sum()])
    return errors


if __name__ == "__main__":
    sys.exit(main())
