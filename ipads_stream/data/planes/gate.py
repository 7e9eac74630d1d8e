"""The gate of every recording: is its indirect dimension uniform, complete, frequency-encoded?

What is not uniform or encodes no frequency gives a spectrum all the same, and a confident wrong
score: zeros in place of increments that were never recorded count as truth, and a series of delays
or gradients is Fourier-transformed. Parameters alone do not tell: converted files have lost them.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Complex, Shaped

from ipads_stream.data.planes.recording import PROCESSED, Recording, UnusableData

PARTS = {"states": 2, "states-tppi": 2, "echo-antiecho": 2, "tppi": 2, "qseq": 2}
STANDS_OUT = 30.0  # a row with signal has this many times the energy of a row of the lower quartile
ONE_PHASE = 0.9  # of the energy of a t1 FID is real, after rotation by one phase
NON_UNIFORM = "non-uniform sampling: give a uniform recording, or reconstruct the rows in Python"


def complete(source: Recording, mode: str) -> Recording:
    """The whole increments that were recorded, with notes on what was left out.

    Raises:
        UnusableData: zeros say that increments were left out on purpose.
    """
    is_processed = source.mode == PROCESSED
    traces, notes = source.traces.T if is_processed else source.traces, list(source.notes)
    if is_processed:
        _check_scattered(traces.T)
    parts = 1 if is_processed else PARTS.get(mode, 1)
    is_recorded = np.asarray(traces.any(axis=1))
    found = int(np.flatnonzero(is_recorded)[-1]) + 1
    announced = max(source.announced, len(traces))
    if mode in ("tppi", "qseq"):  # single traces: pairs belong together for their number alone
        is_there = is_recorded[:found]
    else:
        whole = is_recorded[: found - found % parts]
        is_there = np.asarray(whole.reshape(-1, parts).any(axis=1))
    if not is_there.all():
        given = f"{int(is_there.sum())} of {is_there.size} increments are recorded, others are zero"
        raise UnusableData(f"{given}: {NON_UNIFORM}")
    if found < announced:
        notes.append(
            f"The acquisition was stopped, or filled with zeros: {found} of {announced} "
            f"{'points' if is_processed else 'traces'} were recorded and are used."
        )
    if found % parts:
        notes.append(f"The last of {found} traces is left out: an odd number is no whole {mode}.")
    kept = traces[: found - found % parts]
    return replace(source, traces=kept.T if is_processed else kept, notes=tuple(notes))


def _check_scattered(fid: Shaped[np.ndarray, "rows points"]) -> None:
    """Points of t1 FIDs that are zero in some rows before others that are not."""
    later = np.cumsum((fid != 0)[:, ::-1], axis=1)[:, ::-1] > 0
    gaps = ((fid == 0) & later).mean()
    if gaps > 0.05:
        raise UnusableData(f"{gaps:.0%} of the points are zero amid others: {NON_UNIFORM}")


def check_frequencies(fid: Complex[np.ndarray, "rows points"]) -> None:
    """Refuses rows that are real along t1 but for one phase each: |sum z^2| = sum |z|^2.

    So are delays, gradients, temperatures and times in place of t1, and one quadrature channel of
    two. Lines at the carrier (water) are, too: nine of ten rows with signal must be.

    Raises:
        UnusableData: no frequency is encoded.
    """
    energy = (np.abs(fid) ** 2).sum(axis=1, dtype=np.float64)
    coherent = np.abs((fid.astype(np.complex128) ** 2).sum(axis=1))
    strong = _stands_out(energy)
    if np.quantile(coherent[strong] / energy[strong], 0.1) > ONE_PHASE:
        raise UnusableData(
            "every row keeps one phase along t1, so no frequency is encoded: a pseudo-2D series "
            "(of delays, gradients, temperatures, times), or one quadrature channel; give a "
            "recording over t1 with both"
        )


def _stands_out(energy: Shaped[np.ndarray, " rows"]) -> Bool[np.ndarray, " rows"]:
    strong = energy > STANDS_OUT * np.quantile(energy, 0.25)
    return strong if strong.any() else energy > 0
