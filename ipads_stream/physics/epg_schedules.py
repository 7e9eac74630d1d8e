"""Sequences as steps of an extended phase graph (epg_train.py): gradient echoes and spin echoes.

A magnetisation along i exp(i phase) follows an excitation of that phase: the condition of Carr,
Purcell, Meiboom and Gill is an excitation a quarter turn behind the refocusing pulses.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ipads_stream.core.backend import device_of, is_numpy, namespace
from ipads_stream.physics.epg_arguments import CRUSHED, as_sequence, common_dtype
from ipads_stream.physics.epg_train import Train


def quadratic_phase(num: int, increment: float) -> np.ndarray:
    """Phases of RF spoiling, increment n (n + 1) / 2, less whole turns, rad, (num,).

    Args:
        num: of pulses.
        increment: by which the step of the phase grows from pulse to pulse, rad (117 degrees).

    Source: Zur et al., Spoiling of transverse magnetization in steady-state sequences, Magnetic
    Resonance in Medicine 21(2), 1991.
    """
    n = np.arange(num)
    return np.mod(increment * (n * (n + 1) // 2), 2 * math.pi)


def gradient_echoes(flip: Any, phase: Any, TR: Any, TE: Any, shift: int = 1) -> Train:
    """Pulse, echo, then dephasing: FISP, RF-spoiled with quadratic_phase, balanced with shift 0.

    Args:
        flip, phase: of the pulses, rad, (TRs,).
        TR: from a pulse to the next, s, number or (TRs,).
        TE: from a pulse to its echo, s, number or (TRs,).
        shift: turns of dephasing after the echo; 0 is a balanced train (of one isochromat, see
            train); CRUSHED: ideal spoiling.
    """
    flip, phase, TR, TE = _columns(flip, phase, TR, TE)
    return _steps([(flip, phase, TE, 0, True), (0 * flip, 0 * phase, TR - TE, shift, False)])


def reversed_gradient_echoes(flip: Any, phase: Any, TR: Any, TE: Any, shift: int = 1) -> Train:
    """Pulse, dephasing, then the echo, of what earlier pulses left: PSIF.

    Args:
        flip, phase, TR, TE, shift: as for gradient_echoes; the dephasing comes before the echo.
    """
    flip, phase, TR, TE = _columns(flip, phase, TR, TE)
    return _steps([(flip, phase, TE, shift, True), (0 * flip, 0 * phase, TR - TE, 0, False)])


def spin_echoes(
    flip: Any,
    phase: Any,
    ESP: Any,
    excitation: Any = math.pi / 2,
    excitation_phase: Any = -math.pi / 2,
    crusher: int = 1,
) -> Train:
    """Excitation, then refocusing pulses with an echo half way between: multi-echo, TSE, non-CPMG.

    Args:
        flip, phase: of the refocusing pulses, rad, (echoes,).
        ESP: from echo to echo, s, number or (echoes,).
        excitation, excitation_phase: of the first pulse, rad; with -pi/2 and refocusing pulses of
            phase 0 the train meets the CPMG condition.
        crusher: turns of dephasing on each side of a refocusing pulse.
    """
    flip, phase, ESP = _columns(flip, phase, ESP)
    first = _columns(flip[:1] * 0 + excitation, excitation_phase, ESP[:1] / 2)
    refocused = _steps([(flip, phase, ESP / 2, crusher, True),
                        (0 * flip, 0 * phase, ESP / 2, crusher, False)])  # fmt: skip
    return _joined(_steps([(*first, crusher, False)]), refocused)


def inverted(steps: Train, TI: Any, flip: Any = math.pi) -> Train:
    """The same steps after an inversion pulse whose transverse rest is crushed.

    Args:
        steps: of a train.
        TI: from the inversion to the first pulse, s.
        flip: of the inversion, rad; B1 scales it: a train after a perfect one starts at
            initial = 1 - 2 exp(-TI / T1).
    """
    first = steps.flip[:1] * 0
    return _joined(_steps([(first + flip, 0 * first, first + TI, CRUSHED, False)]), steps)


def _columns(flip: Any, *others: Any) -> list[Any]:
    """All as arrays of the library of flip, of its length; whole numbers in float64."""
    flip = as_sequence(flip)
    xp = namespace(flip)
    flip = xp.astype(flip, common_dtype(xp, {"flip": flip}))
    arrays = [x if hasattr(x, "shape") and not is_numpy(x)
              else xp.asarray(x, dtype=flip.dtype, device=device_of(flip))
              for x in (flip, *others)]  # fmt: skip
    return [xp.broadcast_to(x, flip.shape) for x in arrays]


def _steps(parts: list[Any]) -> Train:
    """Steps of which every pulse has so many, in turn."""
    xp, num = namespace(parts[0][0]), parts[0][0].shape[0]
    turn = [xp.reshape(xp.stack([part[i] for part in parts], axis=-1), (-1,)) for i in range(3)]
    return Train(*turn, *(np.tile([part[i] for part in parts], num) for i in (3, 4)))


def _joined(first: Train, then: Train) -> Train:
    xp = namespace(first.flip)
    joined = (xp.concat([a, b]) for a, b in zip(first[:3], then[:3], strict=True))
    return Train(
        *joined, *(np.concatenate([a, b]) for a, b in zip(first[3:], then[3:], strict=True))
    )
