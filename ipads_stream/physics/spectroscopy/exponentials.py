"""Sum of damped exponentials, the signal of magnetic resonance spectroscopy.

Axes: J peak, T time (points). Signs: NMR, a line at +f turns as exp(+2 pi i f t).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import cuda_module, device_of, is_cupy, launch, namespace
from ipads_stream.physics.arguments import check_values, common_shape, whole_number
from ipads_stream.physics.arrays import phasor
from ipads_stream.physics.dispatch import dispatched
from ipads_stream.physics.spectroscopy.kernels import exponentials as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "exponentials.cu"
_STEPS, _WARP = 32, 32  # points of a lane, as in the CUDA text, and lanes of a warp


def damped_exponentials(
    amplitude: Float[Any, "*#batch #J"],
    frequency: Float[Any, "*#batch #J"],
    phase: Float[Any, "*#batch #J"],
    decay: Float[Any, "*#batch #J"],
    *,
    points: int,
    dwell: float = 1.0,
    dtype: Literal["complex64", "complex128"] | None = None,
) -> Complex[Any, "... {points}"]:
    """The free induction decay of several peaks.

    s_n = sum_j a_j exp(i phi_j) exp(-n dwell / tau_j) exp(2 pi i f_j n dwell), n = 0 .. points - 1

    Args:
        amplitude: a, (*batch, J); a peak of amplitude 0 is absent.
        frequency: f, Hz, (*batch, J).
        phase: phi, rad, (*batch, J).
        decay: tau, s, (*batch, J), positive and finite.
        points: number of samples in time.
        dwell: time between samples, s.
        dtype: of the result; the complex counterpart of the inputs where None. complex64 without a
            gradient runs in the kernel of the device (relative error 2e-6), all else as formula.

    Raises:
        ValueError: an argument is out of range or the shapes do not fit. Decay is checked on the
            host only: on a GPU it would stop the stream.

    Source: Yang et al., Physics-driven synthetic data learning for biomedical magnetic resonance,
    IEEE Signal Processing Magazine 40(2), 2023, Eqs. (5) and (6).
    """
    peaks = {"amplitude": amplitude, "frequency": frequency, "phase": phase, "decay": decay}
    whole_number("points", points)
    check_values({"dwell": dwell, "decay": decay})
    shape = common_shape(peaks)
    if not shape:
        raise ValueError(f"{', '.join(peaks)}: at least the axis of peaks is needed")
    xp = namespace(*peaks.values())
    wanted = dtype or _counterpart(xp, peaks.values())

    def formula() -> Any:
        return damped_exponentials_formula(**peaks, points=points, dwell=dwell, dtype=wanted)

    if wanted != "complex64":
        return formula()
    return dispatched(
        peaks,
        lambda out, given: _fill([given[name] for name in peaks], shape, dwell, out),
        formula,
        like=decay,
        shape=(*shape[:-1], points),
        dtype=wanted,
    )


def damped_exponentials_formula(
    amplitude: Float[Any, "*#batch #J"],
    frequency: Float[Any, "*#batch #J"],
    phase: Float[Any, "*#batch #J"],
    decay: Float[Any, "*#batch #J"],
    *,
    points: int,
    dwell: float = 1.0,
    dtype: Literal["complex64", "complex128"] | None = None,
) -> Complex[Any, "... {points}"]:
    """:func:`damped_exponentials` in the array API, differentiable; nothing checked.

    With n = L m + l it is a matrix product over the peaks, s_n = sum_j (c_j z_j^(L m)) z_j^l. Both
    factors are formed in float64 and hold J sqrt(points) numbers, so that neither memory nor the
    error of a float32 phase grows with the length.
    """
    xp = namespace(amplitude, frequency, phase, decay)
    wanted = dtype or _counterpart(xp, (amplitude, frequency, phase, decay))
    a, f, phi, tau = (
        xp.astype(x, xp.float64)[..., None]
        for x in xp.broadcast_arrays(amplitude, frequency, phase, decay)
    )
    row = math.isqrt(points - 1) + 1
    num_rows = -(-points // row)
    l = xp.arange(row, dtype=xp.float64, device=device_of(a))  # noqa: E741
    lm = xp.arange(num_rows, dtype=xp.float64, device=device_of(a)) * float(row)
    turns = f * dwell * lm + phi / (2 * math.pi)
    left = phasor(xp, a * xp.exp(-dwell * lm / tau), turns, wanted)
    right = phasor(xp, xp.exp(-dwell * l / tau), f * dwell * l, wanted)
    signal = xp.matmul(xp.matrix_transpose(left), right)
    return xp.reshape(signal, (*signal.shape[:-2], num_rows * row))[..., :points]


def _fill(parameters: Any, batch: tuple[int, ...], dwell: float, out: Any) -> None:
    """Run the kernel of the library that out, (*batch, points) complex64, belongs to."""
    points, num_peaks, xp = out.shape[-1], batch[-1], namespace(out)
    full = [xp.broadcast_to(x, batch) for x in parameters]
    if is_cupy(out):
        peaks = [xp.ascontiguousarray(x, dtype=xp.float64) for x in full]
        sizes = map(np.int64, (num_signals := math.prod(batch[:-1]), num_peaks, points))
        shared = lanes_of(points)
        threads = num_signals * -(-points // (_STEPS * shared)) * shared
        module = cuda_module(_CUDA_TEXT, (f"-DLANES={shared}",))
        launch(module, "damped_exponentials", threads, *peaks, np.float64(dwell), *sizes, out)
        return
    kind = np.result_type(np.float32, *parameters)
    # Numba compiles read-only arrays anew.
    peaks = [np.require(x, kind, ["C", "W"]).reshape(-1, num_peaks) for x in full]
    planes = out.view(np.float32).reshape(-1, 2 * points)
    for first in range(0, max(1, num_peaks), lanes.MAX_PEAKS):
        group = (np.ascontiguousarray(x[:, first : first + lanes.MAX_PEAKS]) for x in peaks)
        part = np.empty_like(planes) if first else planes
        lanes.damped_exponentials(*group, dwell, part)
        if first:
            planes += part


def lanes_of(points: int) -> int:
    """How many lanes of a warp share a stretch of a signal of so many points, a power of two."""
    return min(_WARP, 1 << max(0, -(-points // _STEPS) - 1).bit_length())


def _counterpart(xp: Any, peaks: Any) -> Literal["complex64", "complex128"]:
    return "complex128" if xp.result_type(*peaks) == xp.float64 else "complex64"
