"""From traces to rows of t1 FIDs: windows, Fourier transform of t2, quadrature along t1.

With P = (c + i s)/2 and N = (c - i s)/2 from the cosine and sine parts of States data (the
anti-echo and echo parts are 2P and 2N), F2 the transform along t2, and phases a and b:

    phased:    row = F2(P) e^{i(a+b)} + conj(F2(N) e^{i(a-b)})     absorptive real part after F1
    unphased:  row = 2 F2(P)                                       compare magnitudes
"""

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.evaluation.planes_recording import MODES, Recipe, Recording, UnusableData
from ipads_stream.physics.spectrum import spectrum


def cosine_window(num_points: int, power: int) -> Float[np.ndarray, " points"]:
    """Give cos(pi k / 2n)^power, (points,).

    The first point counts half, as half its interval lies before t = 0.
    """
    window = np.cos(np.pi / 2 * np.arange(num_points) / num_points) ** power
    window[0] /= 2
    return window


def quadrature_mode(recording: Recording, recipe: Recipe) -> str:
    """Give the mode, one of MODES, of the recipe or else of the file.

    Raises:
        UnusableData: unknown mode, or traces that are not pairs where the mode needs pairs.
    """
    mode, num_traces = recipe.mode or recording.mode, len(recording.traces)
    if mode not in MODES:
        raise UnusableData(
            f"unknown quadrature mode: {mode}; if it is one of {', '.join(MODES)}, "
            "say so with mode=..."
        )
    if mode != "phase-modulated" and num_traces % 2:
        raise UnusableData(
            f"odd number of increments ({num_traces}) in {mode} data; drop the last trace, or say "
            "mode=phase-modulated if that is how it was recorded"
        )
    return mode


def direct_spectra(recording: Recording, recipe: Recipe) -> Complex[np.ndarray, "rows increments"]:
    """Window and transform t2; traces become columns, (direct points, increments)."""
    traces = recording.traces
    if recipe.reverse_direct:
        traces = traces.conj()
    if recording.delay:
        cycles = np.fft.fftfreq(traces.shape[1])
        turn = np.exp(2j * np.pi * cycles * recording.delay)
        traces = np.fft.ifft(np.fft.fft(traces, axis=1) * turn, axis=1)
    traces = traces[:, : recipe.num_direct]
    return spectrum(traces * cosine_window(traces.shape[1], recipe.cosine_power[0])).T


def join_parts(
    spectra: Complex[np.ndarray, "rows increments"], mode: str, recipe: Recipe
) -> Complex[np.ndarray, "rows points"]:
    """Join the quadrature parts, which alternate along t1, into t1 FIDs (rows, points)."""
    a, b = recipe.phase or (0.0, 0.0)
    if mode == "phase-modulated":
        fid = spectra * np.exp(1j * (a + b))
        return fid.conj() if recipe.reverse_indirect else fid
    p, n = _split_parts(spectra, mode)
    if recipe.reverse_indirect:
        p, n = n, p
    if recipe.phase is None:
        fid = 2 * p
    else:
        fid = p * np.exp(1j * (a + b)) + (n * np.exp(1j * (a - b))).conj()
    return fid * (-1.0) ** np.arange(fid.shape[1]) if mode == "states-tppi" else fid


def _split_parts(
    spectra: Complex[np.ndarray, "rows increments"], mode: str
) -> tuple[Complex[np.ndarray, "rows points"], Complex[np.ndarray, "rows points"]]:
    """Give F2(P) and F2(N)."""
    first, second = spectra[:, 0::2], spectra[:, 1::2]
    if mode == "echo-antiecho":
        return second / 2, first / 2
    return (first + 1j * second) / 2, (first - 1j * second) / 2
