"""Synthetic Bruker experiments with known lines, written number by number from the definitions.

A line is exp(+2 pi i f2 t2) along t2; gradient-selected echoes are exp(-2 pi i f1 t1).
"""

from pathlib import Path

import numpy as np

BF1, SWH, O1 = 500.0, 5000.0, 2500.0  # MHz, Hz, Hz: 1H, 10 ppm wide, centred at 5 ppm
SW1 = 4000.0  # Hz
# Hz from the centre along f1 and f2, amplitude
LINES = ((900.0, 700.0, 1.0), (-1300.0, 1500.0, 0.7), (300.0, -1800.0, 0.5))
R1, R2 = 20.0, 10.0  # 1/s
FNMODE = {"qf": 1, "qf-p": 1, "qseq": 2, "tppi": 3, "states": 4, "states-tppi": 5}
FNMODE |= {"echo-antiecho": 6, "pseudo-2d": 0}


def traces(mode, increments, points, lines=LINES, phase=0.0):
    """Traces in the order of recording, complex; `increments` are those of t1, or single traces of
    qf, qseq, tppi and pseudo-2D recordings. `phase` in rad is that of t2."""
    k = np.arange(increments)[:, None]
    t2 = np.arange(points) / SWH

    def sum_of(modulation, t1):
        return sum(
            a * modulation(2 * np.pi * f1 * t1) * np.exp(-R1 * t1)
            * np.exp((2j * np.pi * f2 - R2) * t2 + 1j * phase)
            for f1, f2, a in lines
        )  # fmt: skip

    t1, half = k / SW1, k / (2 * SW1)
    echo, antiecho = (lambda w: np.exp(-1j * w)), (lambda w: np.exp(1j * w))
    if mode == "pseudo-2d":  # an echo train or a series of delays: no frequency at all
        return sum_of(np.ones_like, t1)
    if mode in ("qf", "qf-p"):
        return sum_of(echo if mode == "qf" else antiecho, t1)
    if mode == "tppi":
        return sum_of(lambda w: np.cos(w + np.pi / 2 * k), half)
    if mode == "qseq":
        return np.where(k % 2, sum_of(np.sin, half), sum_of(np.cos, half))
    parts = (echo, antiecho) if mode == "echo-antiecho" else (np.cos, np.sin)
    sign = (-1.0) ** k if mode == "states-tppi" else 1.0
    return np.stack([sign * sum_of(part, t1) for part in parts], 1).reshape(-1, points)


def header(path, values):
    lines = "".join(f"##${name}= {value}\n" for name, value in sorted(values.items()))
    path.write_text(f"##TITLE= Parameter file\n##JCAMPDX= 5.0\n{lines}##END=\n")


def write(
    folder,
    data,
    mode,
    *,
    double=False,
    padded=True,
    rows=None,
    direct=None,
    indirect=None,
):
    """Write ser, acqus and acqu2s; `rows` is TD of acqu2s where it is not the number of traces;
    `direct` and `indirect` are further parameters."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    points = data.shape[1]
    flat = np.empty((len(data), 2 * points))
    flat[:, 0::2], flat[:, 1::2] = data.real, data.imag
    block = 128 if double else 256
    if padded:
        flat = np.pad(flat, ((0, 0), (0, -2 * points % block)))
    (flat * 1e5).astype("<f8" if double else "<i4").tofile(folder / "ser")
    common = {"SFO1": BF1 + O1 * 1e-6, "BF1": BF1, "O1": O1, "NUC1": "<1H>"}
    acqus = {"TD": 2 * points, "SW_h": SWH, "BYTORDA": 0, "DTYPA": 2 if double else 0}
    acqus |= {"AQ_mod": 3, "GRPDLY": 0, "DECIM": 1, "DSPFVS": 0, "PULPROG": "<mine>"}
    header(folder / "acqus", common | acqus | (direct or {}))
    acqu2s = {"TD": rows or len(data), "FnMODE": FNMODE[mode], "SW": SW1 / common["SFO1"]}
    header(folder / "acqu2s", common | {"SW_h": SW1} | acqu2s | (indirect or {}))
    return folder


def found(plane, shown, lines=LINES):
    """(f1, f2) in Hz of the highest point near each line's f2, of the magnitudes `shown`."""
    f2, f1 = plane.direct.hertz(shown.shape[0]), plane.indirect.hertz(shown.shape[1])
    places = []
    for _, at, _ in lines:
        row = np.abs(f2 - at).argmin()
        row = row - 2 + shown[row - 2 : row + 3].max(axis=1).argmax()
        places.append((float(f1[shown[row].argmax()]), float(f2[row])))
    return places
