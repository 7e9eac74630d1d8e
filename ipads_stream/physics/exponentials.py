"""Sum of damped exponentials, the signal of magnetic resonance spectroscopy.

Axes: J peak, T time (points). Signs: NMR, a line at +f turns as exp(+2 pi i f t).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import (
    cuda_module,
    device_of,
    is_cupy,
    is_numpy,
    is_torch,
    launch,
    namespace,
)
from ipads_stream.physics.kernels import exponentials as lanes

_CUDA_TEXT = Path(__file__).parent / "kernels" / "exponentials.cu"
_POINTS_PER_WARP, _WARP = 256, 32


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
    parameters = (amplitude, frequency, phase, decay)
    xp = namespace(*parameters)
    if points < 1:
        raise ValueError(f"points={points}: at least 1 is allowed")
    if not (math.isfinite(dwell) and dwell > 0):
        raise ValueError(f"dwell={dwell}: a positive time in s is allowed")
    try:
        batch = np.broadcast_shapes(*(tuple(x.shape) for x in parameters))
    except ValueError as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in parameters)
        raise ValueError(
            f"amplitude, frequency, phase, decay: {shapes} do not fit together"
        ) from error
    if not batch:
        raise ValueError("amplitude, frequency, phase, decay: at least the axis of peaks is needed")
    if is_numpy(decay):
        _check_decay(decay)
    dtype = dtype or _complex_counterpart(xp, parameters)
    if dtype == "complex64" and (is_numpy(decay) or is_cupy(decay)):
        out = xp.empty((*batch[:-1], points), dtype=xp.complex64)
        _fill(parameters, batch, dwell, out)
        return out
    if dtype == "complex64" and is_torch(decay):
        from ipads_stream.core.handover import is_traced, views

        if not any(is_traced(x) for x in parameters):
            out = xp.empty((*batch[:-1], points), dtype=xp.complex64, device=decay.device)
            with views(*parameters, out) as (*arrays, target):
                if is_numpy(target):
                    _check_decay(arrays[3])
                _fill(arrays, batch, dwell, target)
            return out
    return damped_exponentials_formula(*parameters, points=points, dwell=dwell, dtype=dtype)


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
    """The same sum in the array API, differentiable; nothing checked.

    With n = L m + l it is a matrix product over the peaks, s_n = sum_j (c_j z_j^(L m)) z_j^l. Both
    factors are formed in float64 and hold J sqrt(points) numbers, so that neither memory nor the
    error of a float32 phase grows with the length.

    Args:
        amplitude, frequency, phase, decay, points, dwell, dtype: as above.
    """
    xp = namespace(amplitude, frequency, phase, decay)
    kind = getattr(xp, dtype or _complex_counterpart(xp, (amplitude, frequency, phase, decay)))
    a, f, phi, tau = (
        xp.astype(x, xp.float64)[..., None]
        for x in xp.broadcast_arrays(amplitude, frequency, phase, decay)
    )
    row = math.isqrt(points - 1) + 1
    num_rows = -(-points // row)
    l = xp.arange(row, dtype=xp.float64, device=device_of(a))  # noqa: E741
    lm = xp.arange(num_rows, dtype=xp.float64, device=device_of(a)) * float(row)
    left = _rotated(xp, a * xp.exp(-dwell * lm / tau), f * dwell * lm + phi / (2 * math.pi))
    right = _rotated(xp, xp.exp(-dwell * l / tau), f * dwell * l)
    signal = xp.matmul(xp.matrix_transpose(xp.astype(left, kind)), xp.astype(right, kind))
    return xp.reshape(signal, (*signal.shape[:-2], num_rows * row))[..., :points]


def _rotated(xp: Any, modulus: Any, turns: Any) -> Any:
    angle = 2 * math.pi * (turns - xp.round(turns))
    real, imaginary = modulus * xp.cos(angle), modulus * xp.sin(angle)
    return xp.astype(real, xp.complex128) + 1j * xp.astype(imaginary, xp.complex128)


def _fill(parameters: Any, batch: tuple[int, ...], dwell: float, out: Any) -> None:
    """Run the kernel of the library that out, (*batch, points) complex64, belongs to."""
    points, num_peaks = out.shape[-1], batch[-1]
    if is_cupy(out):
        num_signals, xp = math.prod(batch[:-1]), namespace(out)
        peaks = [
            xp.ascontiguousarray(xp.broadcast_to(x, batch), dtype=xp.float64) for x in parameters
        ]
        launch(
            cuda_module(_CUDA_TEXT, ("-DREAL=float",)),
            "damped_exponentials",
            num_signals * -(-points // _POINTS_PER_WARP) * _WARP,
            *peaks,
            np.float64(dwell),
            *(np.int64(n) for n in (num_signals, num_peaks, points)),
            out,
        )
        return
    kind = np.result_type(np.float32, *parameters)
    # Numba compiles read-only arrays anew.
    peaks = [
        np.require(np.broadcast_to(x, batch), kind, ["C", "W"]).reshape(-1, num_peaks)
        for x in parameters
    ]
    planes = out.view(np.float32).reshape(-1, 2 * points)
    for first in range(0, max(1, num_peaks), lanes.MAX_PEAKS):
        group = (np.ascontiguousarray(x[:, first : first + lanes.MAX_PEAKS]) for x in peaks)
        part = np.empty_like(planes) if first else planes
        lanes.damped_exponentials(*group, dwell, part)
        if first:
            planes += part


def _check_decay(decay: np.ndarray) -> None:
    if not np.all((decay > 0) & (decay < np.inf)):
        wrong = decay[~((decay > 0) & (decay < np.inf))].flat[0]
        raise ValueError(f"decay={wrong}: a positive and finite time in s is allowed")


def _complex_counterpart(xp: Any, parameters: Any) -> Literal["complex64", "complex128"]:
    return "complex128" if xp.result_type(*parameters) == xp.float64 else "complex64"
