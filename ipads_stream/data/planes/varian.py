"""Directories of Varian and Agilent spectrometers, read through nmrglue: fid and procpar."""

import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ipads_stream.core.files import check_size
from ipads_stream.data.planes.gate import NON_UNIFORM, PARTS
from ipads_stream.data.planes.recording import Axis, Recording, UnusableData, measured_axis

STATES = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # what `f1coef` is where it is not said

Value = TypeVar("Value", float, str)


def read_varian(path: Path) -> Recording:
    """Read the directory of a 2D Varian or Agilent experiment: fid and procpar.

    Two values of `phase` mean hypercomplex data, one value phase-modulated data. The two FIDs of a
    t1 are combined by `f1coef`, also echoes and anti-echoes, to what States data are; States-TPPI
    lives in the pulse sequence and is not recorded: give the mode in the recipe. Centre:
    (sw/2 - rfl + rfp) / f. Phases: rp at the right edge of the spectrum, rp + lp at the left.

    A line of higher shift is exp(-2 pi i f t) in a file and, for a positive second FID of States,
    exp(-2 pi i f t) along t1. So does the vendor's program process: fft.c and datapoint of dscale.c
    put the most negative frequency at the highest one, ft2d.c and the macro ft1da negate the sine
    part where `f1coef` has -1 (OpenVnmrJ 5710eba). So does nmrglue's converter, from which
    NMRPipe's files have it (convert.py: imagfactor -1, alt_id_sign). No measured file was at hand.

    Raises:
        UnusableData: 1D, 3D, TPPI, or parameters that are missing.
    """
    import nmrglue

    if not (path / "fid").exists() or (path / "fid").stat().st_size == 0:
        raise UnusableData("the fid file is missing or empty; copy it too")
    check_size("data", path / "fid")
    sizes = np.fromfile(path / "fid", ">i4", 6).tolist()  # ..., bytes of a number, trace, block
    if len(sizes) < 6 or not _holds((path / "fid").stat().st_size - 32, *sizes):
        raise UnusableData("the fid file is shorter than its header says; copy it again")
    try:
        parameters = nmrglue.varian.read_procpar(str(path / "procpar"))
        _, traces = nmrglue.varian.read(str(path), as_2d=True)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UnusableData(f"not a readable Varian experiment ({error})") from error
    if _value(parameters, "ni2", 0.0) > 1:
        raise UnusableData("3D data (ni2 > 1); give a 2D recording")
    array = _value(parameters, "array", "phase")
    if array not in ("", "phase"):
        raise UnusableData(
            f"pseudo-2D data, arrayed over {array!r}; allowed: phase only. Extract one 2D recording"
        )
    if _value(parameters, "ni", 0.0) < 2:
        raise UnusableData("1D data (no ni, or ni < 2); give a 2D recording")
    if not _value(parameters, "sw", 0.0) or not _value(parameters, "sw1", 0.0):
        raise UnusableData("sw or sw1 is missing in procpar, so an axis is unknown; add it")
    is_resolved = "jres" in _value(parameters, "seqfil", "").lower()
    axis = _varian_axis(parameters, "1", "dn", "dfrq")
    is_sparse = _value(parameters, "SPARSE", "n") == "y" or (path / "sampling.sch").exists()
    mode = _varian_mode(parameters)
    return Recording(
        traces=_in_parts(traces, parameters) if mode == "states" else traces.conj(),
        mode=mode,
        direct=_varian_axis(parameters, "", "tn", "sfrq"),
        indirect=Axis("J", axis.width) if is_resolved else axis,
        announced=int(_value(parameters, "ni", 0.0)) * PARTS.get(mode, 1),
        fault=f"SPARSE='y' or sampling.sch: {NON_UNIFORM}" if is_sparse else "",
        phases=_varian_phases(parameters),
        phases_in="procpar",
        notes=(
            "Both axes run as the vendor's program has them, which was read, not measured: compare "
            "a known peak; reverse_indirect=true mirrors the indirect one.",
        ),
    )


def _holds(held: int, blocks: int, traces: int, points: int, item: int, *sizes: int) -> bool:
    """Whether a Varian file has room for what its header says."""
    trace, block = sizes
    is_whole = min(blocks, traces, points, item) > 0 and traces * points * item <= block
    return is_whole and trace >= points * item and blocks * block <= held


def _varian_mode(parameters: dict[str, Any]) -> str:
    """By `proc1` and the values of `phase`: 3 and 4 are TPPI."""
    if _value(parameters, "proc1", "ft") == "rft":
        return "proc1='rft' (TPPI)"
    phases = [int(float(value)) for value in parameters.get("phase", {"values": []})["values"]]
    if any(phase > 2 for phase in phases):
        return f"phase={','.join(map(str, phases))} (TPPI)"
    if len(phases) < 2:
        return "phase-modulated"
    if phases not in ([1, 2], [0, 1]):  # 0, 1: as nmrglue writes it
        return f"phase={','.join(map(str, phases))}"
    return "states"


def _in_parts(traces: np.ndarray, parameters: dict[str, Any]) -> np.ndarray:
    """Cosine and sine parts, which alternate along t1, exp(+2 pi i f t) along both axes.

    With S1, S2 the FIDs of one t1 and the numbers c of `f1coef`, two for each FID and part,
    parts are sum_k (c_k + i c'_k) conj(S_k). Another number of them means `STATES`, as to the
    vendor's macro.
    """
    try:
        given = [float(x) for x in _value(parameters, "f1coef", "").replace(",", " ").split()]
    except ValueError:
        given = []
    numbers = np.reshape(given if len(given) == 4 * PARTS["states"] else STATES, (2, 2, 2))
    parts = traces.conj()
    whole = parts[: len(parts) - len(parts) % 2]
    pairs = np.stack([whole[0::2], whole[1::2]])
    whole[0::2], whole[1::2] = np.tensordot(numbers @ [1, 1j], pairs, axes=1)
    return parts


def _varian_phases(
    parameters: dict[str, Any],
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """(zero, first order) of F2 and F1 from the left edge, rad; None: never phased."""
    names = ("rp", "lp"), ("rp1", "lp1")
    (rp, lp), (rp1, lp1) = (
        (math.radians(_value(parameters, right, 0.0)), math.radians(_value(parameters, left, 0.0)))
        for right, left in names
    )
    return ((rp + lp, -lp), (rp1 + lp1, -lp1)) if any((rp, lp, rp1, lp1)) else None


def _varian_axis(parameters: dict[str, Any], end: str, label: str, frequency: str) -> Axis:
    """Make the axis whose parameters' names end in `end`, from rfl and rfp in Hz."""
    width = _value(parameters, "sw" + end, 1.0)
    larmor = _value(parameters, frequency, float("nan"))  # MHz
    reference = _value(parameters, "rfl" + end, width / 2)
    offset = width / 2 - reference + _value(parameters, "rfp" + end, 0.0)
    return measured_axis(_value(parameters, label, "?"), width, 1e6 * larmor, offset / larmor)


def _value(parameters: dict[str, Any], name: str, default: Value) -> Value:
    """A parameter of procpar, of the type of the default."""
    entry = parameters.get(name)
    return type(default)(entry["values"][0]) if entry and entry["values"] else default
