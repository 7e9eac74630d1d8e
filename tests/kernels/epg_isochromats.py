"""What the tests of both texts of the phase graphs share: isochromats, tissue, one text to build.

Rotations and relaxation in float64, spin by spin, without orders.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ipads_stream.core.backend import cuda_text

# Columns: T1, T2, B1 and the magnetisation before the train.
TISSUE = np.array([[1.0, 0.1, 1.0, 1.0], [0.5, 0.03, 0.8, -0.9], [2.0, 0.9, 1.2, -1.0]]).T


def text_for(text: Path, orders: int, folder: Path, lanes: int = 1) -> Path:
    """A copy of the CUDA text, in a folder, for a number of orders that some lanes share."""
    path = folder / f"{text.stem}_{orders}_{lanes}.cu"
    path.write_text(f"#define ORDERS {orders}\n#define LANES {lanes}\n{cuda_text(text)}")
    return path


def turned(M, angle, phase):
    """Spins (n, 3) after a rotation of dM/dt = M x B about the axis (cos, sin, 0) of phase."""
    x, y = np.cos(phase), np.sin(phase)
    cross = np.array([[0, 0, y], [0, 0, -x], [-y, x, 0]])
    return M @ (np.eye(3) - np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).T


def dephased(M, T1, T2, time):
    """Spins across one turn of the gradient after a time."""
    theta = 2 * np.pi * (np.arange(len(M)) + 0.5) / len(M)
    M_xy = (M[:, 0] + 1j * M[:, 1]) * np.exp(-1j * theta - time / T2)
    return np.stack([M_xy.real, M_xy.imag, 1 - (1 - M[:, 2]) * np.exp(-time / T1)], 1)


def fisp(flip, phase, TR, TE, T1, T2, B1, initial, spins):
    """Echoes of a train of so many spins."""
    M = np.zeros((spins, 3))
    M[:, 2], signal = initial, []
    for n, a in enumerate(flip):
        M = turned(M, a * B1, phase[n])
        signal.append((M[:, 0] + 1j * M[:, 1]).mean() * np.exp(-TE[n] / T2))
        M = dephased(M, T1, T2, TR[n])
    return np.array(signal)


def cpmg(spacing, T1, T2, B1, num, spins):
    """Echoes of a train that meets the CPMG condition: real, but for rounding."""
    M = turned(np.tile([0.0, 0.0, 1.0], (spins, 1)), np.pi / 2 * B1, -np.pi / 2)
    signal = []
    for _ in range(num):
        M = turned(dephased(M, T1, T2, spacing / 2), np.pi * B1, 0.0)
        M = dephased(M, T1, T2, spacing / 2)
        signal.append(M[:, 0].mean())
        assert abs(M[:, 1].mean()) < 1e-12
    return np.array(signal)


def random_train(num, one_axis):
    """flip, phase, TR, TE, (num,)."""
    rng = np.random.default_rng(0)
    phase = np.full(num, 0.7) if one_axis else rng.uniform(-3, 3, num)
    TR = rng.uniform(0.008, 0.02, num)
    return [rng.uniform(-0.2, 1.6, num), phase, TR, 0.4 * TR]
