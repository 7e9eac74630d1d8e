"""Magnetic-resonance fingerprints: the echoes of a schedule of pulses, by extended phase graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Complex, Float

from ipads_stream.core.backend import namespace
from ipads_stream.physics import cramer_rao, epg

SPOILING = ("gradient", "ideal")
STEP = 1e-3  # of a logarithm: the differences are off by some 1e-12
Atoms = Float[np.ndarray, " atoms"]
Frames = tuple[Any, ...]  # the first arguments of fingerprint
Interval = tuple[float, float]  # lowest and highest value


def fingerprint(
    flip: Any,
    phase: Any,
    TR: Any,
    TE: Any,
    TI: float | None,
    spoiling: str,
    *,
    T1: Any,
    T2: Any,
    B1: Any = 1.0,
    orders: Any = "auto",
) -> Complex[Any, "... frames"]:
    """One echo per pulse, M0 = 1: those of epg.fisp, or of a train without transverse memory.

    The signal of pulses of phase 0 and pi is i times a real one.

    Args:
        flip, phase: of the pulses, rad, (frames,).
        TR: from a pulse to the next, s, (frames,).
        TE: from a pulse to its echo, s, (frames,).
        TI: from a perfect inversion to the first pulse, s; None: no inversion.
        spoiling: "gradient": a turn of dephasing after each echo; "ideal": nothing transverse
            survives to the next pulse.
        T1, T2: s, (*atoms,).
        B1: factor of the flip angles, number or (*atoms,).
        orders: of the phase graph, as for epg.fisp; ideal spoiling needs none.

    Raises:
        ValueError, TypeError: as for epg.fisp; another word for spoiling.

    Source: Ma et al., Magnetic resonance fingerprinting, Nature 495, 2013; Jiang et al., Magnetic
    Resonance in Medicine 74(6), 2015.
    """
    if spoiling not in SPOILING:
        raise ValueError(f"spoiling={spoiling}: one of {', '.join(SPOILING)} is allowed")
    if spoiling == "gradient":
        return epg.fisp(flip, phase, TR, TE, T1, T2, B1, TI, orders)
    steps = epg.gradient_echoes(flip, phase, TR, TE, shift=epg.CRUSHED)
    initial: Any = 1.0
    if TI is not None:
        xp = namespace(T1) if hasattr(T1, "shape") else np
        initial = 1.0 - 2.0 * xp.exp(-TI / T1)
    return epg.train(*steps, T1=T1, T2=T2, B1=B1, initial=initial, orders=1)


def tissue_grid(
    T1: Interval, T2: Interval, B1: Interval, points: Sequence[int]
) -> tuple[Atoms, ...]:
    """T1, T2 (s) and B1 on a grid, T1 and T2 in equal steps of their logarithm, T2 <= T1."""
    axes = (np.geomspace(*T1, points[0]), np.geomspace(*T2, points[1]), np.linspace(*B1, points[2]))
    a, b, c = (x.ravel() for x in np.meshgrid(*axes, indexing="ij"))
    kept = b <= a
    return a[kept], b[kept], c[kept]


def logarithmic_jacobian(
    frames: Frames, unknown: Sequence[str], orders: Any = "auto", *, T1: Atoms, T2: Atoms, B1: Atoms
) -> Float[np.ndarray, "atoms frames P"]:
    """Derivatives of fingerprints of root mean square 1 by the logarithm of what is unknown.

    d(s_n / rms) / d ln p by central differences of fourth order in float64, the amplitude last (s_n
    / rms itself); s is the signal over i, real for pulses of phase 0 and pi; T1, T2 in s.
    """
    tissue = {"T1": T1, "T2": T2, "B1": B1}
    tissue = {name: np.asarray(value, dtype=np.float64) for name, value in tissue.items()}
    tissue = dict(zip(tissue, np.broadcast_arrays(*tissue.values()), strict=True))

    def signal(**changed: Any) -> np.ndarray:
        return np.imag(fingerprint(*frames, **(tissue | changed), orders=orders))

    at = signal()
    columns = []
    for name in unknown:
        rise: Any = 0.0
        for steps, weight in ((1, 8 / 12), (2, -1 / 12)):
            ends = (signal(**{name: tissue[name] * np.exp(k * STEP)}) for k in (steps, -steps))
            rise = rise + weight * np.subtract(*ends) / STEP
        columns.append(rise)
    rms = np.sqrt(np.mean(at**2, axis=-1))
    return np.stack([*columns, at], axis=-1) / rms[..., None, None]


def relative_bound(
    frames: Frames, unknown: Sequence[str], orders: Any = "auto", *, T1: Atoms, T2: Atoms, B1: Atoms
) -> dict[str, Atoms]:
    """Cramer-Rao: the least standard deviation of the logarithm of what is unknown, at an SNR of 1.

    Divide by the SNR, the root mean square of the frames over the noise of a real channel. The
    amplitude is unknown, too. A signal that does not carry what is unknown is a LinAlgError.
    """
    jacobian = logarithmic_jacobian(frames, unknown, orders, T1=T1, T2=T2, B1=B1)
    deviations = cramer_rao.bound(cramer_rao.fisher_information(jacobian, 1.0))
    return {name: deviations[..., i] for i, name in enumerate(unknown)}


def refuse_unidentifiable(
    frames: Frames, T1: Interval, T2: Interval, B1: Interval, unknown: Sequence[str]
) -> None:
    """Refuse a schedule whose fingerprints, of unknown amplitude, do not carry what is unknown."""
    a, b, c = tissue_grid(T1, T2, B1, (6, 6, 3))
    jacobian = logarithmic_jacobian(frames, unknown, T1=a, T2=b, B1=c)
    fisher = cramer_rao.fisher_information(jacobian, 1.0)
    names = (*unknown, "amplitude")  # in logarithms: 1 is a factor of e
    cramer_rao.identifiable(fisher, names, scale=(1.0,) * len(names))
