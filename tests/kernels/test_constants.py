"""What the CUDA texts and the package both write down is the same in both."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import ipads_stream
from ipads_stream.core import backend, philox
from ipads_stream.physics.bloch import adjoint, on_gpu
from ipads_stream.physics.bloch.kernels import parts
from ipads_stream.physics.epg import launch
from ipads_stream.physics.exchange.kernels import bloch_mcconnell
from ipads_stream.physics.spectroscopy import exponentials

PACKAGE = Path(ipads_stream.__file__).parent
BLOCH, EXCHANGE = "physics/bloch/kernels", "physics/exchange/kernels/bloch_mcconnell.cu"
DEFINED = {
    f"{BLOCH}/plan.cu": {
        "LANES": on_gpu._LANES, "MOST_HALVINGS": parts.MOST_HALVINGS, "FREE": parts.FREE,
        "EXACT": parts.EXACT,
    },
    f"{BLOCH}/spin.cu": {"FREE": parts.FREE, "EXACT": parts.EXACT},
    f"{BLOCH}/adjoint.cu": {"WARP": adjoint._WARP, "COLUMNS": parts.COLUMNS + 1},
    f"{BLOCH}/readout.cu": {
        "CHUNK": on_gpu._CHUNK, "COILS": on_gpu._COILS,
        "ROWS": on_gpu._ROWS, "WARP": on_gpu._LANES,
        "WARPS": backend._THREADS // 32,
    },
    EXCHANGE: {f"C{n}": getattr(bloch_mcconnell, f"C{n}") for n in range(8)}
    | {"REACH": bloch_mcconnell.REACH, "WARPS": backend._THREADS // 32},
    "physics/epg/kernels/general.cu": {"WARP": launch._WARP, "WARPS": backend._THREADS // 32},
    "physics/spectroscopy/kernels/exponentials.cu": {"STEPS": exponentials._STEPS},
}  # fmt: skip
# Numbers within formulas, to the digits of their precision.
WRITTEN = {
    f"{BLOCH}/spin.cu": [c for row in parts.SHORT for c in row[1:]],
    "core/philox.cu": [*map(int, (*philox._MULTIPLIERS, *philox._WEYL)), int(philox._ROOT_HALF),
                       int(philox._ROOT_BITS)],
}  # fmt: skip


@pytest.mark.parametrize("text", DEFINED)
def test_what_is_defined_is_that_of_the_package(text):
    found = dict(re.findall(r"#define (\w+) (-?[\d.]+)", (PACKAGE / text).read_text()))
    for name, value in DEFINED[text].items():
        assert float(found[name]) == pytest.approx(value, rel=1e-15), name


@pytest.mark.parametrize("text", WRITTEN)
def test_numbers_of_formulas_are_those_of_the_package(text):
    pattern = r"0[xX][0-9A-Fa-f]+(?=u|\b)|\d+\.\d+(?:e-?\d+)?"
    found = re.findall(pattern, (PACKAGE / text).read_text())
    numbers = {int(x, 16) if x.startswith("0x") else np.float32(x) for x in found}
    for value in WRITTEN[text]:
        wanted = value if isinstance(value, int) else np.float32(abs(value))
        assert wanted in numbers, value


def test_points_of_a_tile_are_those_of_the_text():
    text = (PACKAGE / f"{BLOCH}/readout.cu").read_text()
    points = on_gpu._POINTS
    assert f"(sizeof(REAL) == 4 ? {points['float32']} : {points['float64']})" in text
