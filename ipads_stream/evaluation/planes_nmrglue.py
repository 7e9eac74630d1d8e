"""File formats of spectrometers and NMRPipe, read through nmrglue.

Signs, in the file as it is read: NMRPipe, Bruker and Varian FIDs have a line of higher shift at
+f, exp(+2 pi i f t), along t2 and (States: c + i s) along t1; nmrglue's Bruker examples reverse the
spectrum only because they draw it in descending order. In Bruker echo/anti-echo data the first of
two traces is the echo, exp(-2 pi i f1 t1).
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.evaluation.planes_recording import (
    Axis,
    Recording,
    UnusableData,
    measured_axis,
)

BRUKER_MODES = {
    1: "phase-modulated",
    4: "states",
    5: "states-tppi",
    6: "echo-antiecho",
}
BRUKER_OTHER_MODES = {0: "undefined", 2: "QSEQ", 3: "TPPI"}


def read_nmrpipe(path: Path) -> Recording:
    """Read a 2D NMRPipe time-domain file.

    The header says hypercomplex (FD2DPHASE 2) or not (0: phase-modulated) and whether the sign
    alternates (FDF1AQSIGN 2: States-TPPI). It does not record echo/anti-echo: give the mode in the
    recipe. FDF1AQSIGN 16 is refused because programs disagree about it (nmrglue writes it for
    States-TPPI, NMRPipe reads a negated imaginary part).

    Args:
        path: the file.

    Returns:
        The recording.

    Raises:
        UnusableData: not NMRPipe, not 2D, not in the time domain, real, unknown quadrature.
    """
    import nmrglue

    if path.stat().st_size <= 2048:
        raise UnusableData("an NMRPipe header without data points; copy the file again")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # how nmrglue tells of a size that is wrong
        try:
            header, traces = nmrglue.pipe.read(str(path))
        except (ValueError, IndexError, KeyError, OSError, UserWarning) as error:
            raise UnusableData(f"not a readable NMRPipe file ({error})") from error
    num_dimensions = int(header["FDDIMCOUNT"])
    if num_dimensions != 2 or traces.ndim != 2:
        raise UnusableData(f"{num_dimensions}D data; give a 2D recording or one plane of it")
    if header["FDF2FTFLAG"] or header["FDF1FTFLAG"]:
        raise UnusableData("already in the frequency domain; give the file before any FT")
    if header["FDTRANSPOSED"]:
        raise UnusableData("transposed; give the file before TP")
    mode = {
        (0, 0): "phase-modulated",
        (2, 0): "states",
        (2, 2): "states-tppi",
    }.get((int(header["FD2DPHASE"]), int(header["FDF1AQSIGN"])), "unknown")
    if mode == "unknown":
        mode = f"FD2DPHASE {header['FD2DPHASE']:g} with FDF1AQSIGN {header['FDF1AQSIGN']:g}"
    return Recording(traces, mode, _nmrpipe_axis(header, "FDF2"), _nmrpipe_axis(header, "FDF1"))


def _nmrpipe_axis(header: dict[str, Any], name: str) -> Axis:
    width, frequency = header[name + "SW"], header[name + "OBS"] * 1e6
    return measured_axis(header[name + "LABEL"], width, frequency, header[name + "CAR"])


def read_bruker(path: Path) -> Recording:
    """Read a 2D Bruker experiment: ser, acqus and acqu2s.

    Width of t1: SW (ppm) times SFO1; centre: O1 / BF1. The digital filter's delay is GRPDLY, or
    where that is absent the table of DSPFVS and DECIM.

    Args:
        path: the experiment's directory.

    Returns:
        The recording.

    Raises:
        UnusableData: 1D, 3D, already undersampled, only processed data, unknown quadrature.
    """
    import nmrglue

    if (path / "acqu3s").exists():
        raise UnusableData("3D data (acqu3s); give a 2D recording")
    if not (path / "ser").exists():
        if (path / "fid").exists():
            raise UnusableData("1D data (fid, no ser); give a 2D recording")
        raise UnusableData("no ser file, so no time-domain data; give the raw experiment")
    if (path / "nuslist").exists():
        raise UnusableData("undersampled already (nuslist); give a fully sampled recording")
    if not (path / "acqu2s").exists():
        raise UnusableData("acqu2s is missing, so the t1 axis is unknown; copy it too")
    if (path / "ser").stat().st_size == 0:
        raise UnusableData("the ser file is empty; copy it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = nmrglue.bruker.read_acqus_file(str(path), ["acqus", "acqu2s"])
    direct, indirect = header["acqus"], header["acqu2s"]
    values = np.fromfile(path / "ser", dtype=_bruker_type(direct)).astype(np.float64)
    length = int(direct["TD"])
    block = 1024 // (8 if direct.get("DTYPA", 0) == 2 else 4)
    stride = -(-length // block) * block  # every trace starts a block of 1024 bytes
    if values.size % stride:
        stride = length
    if values.size % stride:
        raise UnusableData(f"{values.size} numbers are not whole traces of TD={length}; copy again")
    num_rows = min(int(indirect["TD"]), values.size // stride)
    if direct.get("AQ_mod", 3) not in (1, 3):
        raise UnusableData(
            f"AQ_mod={direct['AQ_mod']} (single channel or sequential); use qsim/DQD"
        )
    values = values.reshape(-1, stride)[:num_rows, :length]
    code = int(indirect.get("FnMODE", 0))
    mode = BRUKER_MODES.get(code) or f"FnMODE {code} ({BRUKER_OTHER_MODES.get(code, 'unknown')})"
    return Recording(
        traces=values[:, 0::2] + 1j * values[:, 1::2],
        mode=mode,
        direct=_bruker_axis(direct, direct["SW_h"]),
        indirect=_bruker_axis(indirect, indirect["SW"] * indirect["SFO1"]),
        delay=_group_delay(direct),
    )


def _bruker_axis(header: dict[str, Any], width: float) -> Axis:
    frequency = 1e6 * header.get("BF1", header["SFO1"])
    centre = header.get("O1", 0.0) / frequency * 1e6
    return measured_axis(header.get("NUC1", "?"), width, frequency, centre)


def _bruker_type(header: dict[str, Any]) -> str:
    order = ">" if header.get("BYTORDA", 0) == 1 else "<"
    return order + ("f8" if header.get("DTYPA", 0) == 2 else "i4")


def _group_delay(header: dict[str, Any]) -> float:
    """Delay of the digital filter in points of t2; 0 for analogue filters."""
    from nmrglue.fileio.bruker import bruker_dsp_table

    delay = float(header.get("GRPDLY", 0))
    if delay > 0:
        return delay
    return float(bruker_dsp_table.get(header.get("DSPFVS"), {}).get(header.get("DECIM"), 0.0))


def read_varian(path: Path) -> Recording:
    """Read a 2D Varian or Agilent experiment: fid and procpar.

    Two values of `phase` mean hypercomplex data, one value phase-modulated data. `f1coef` tells
    echo/anti-echo (1 0 -1 0 0 1 0 1 or its sign variants) from States; States-TPPI lives in the
    pulse sequence and is not recorded: give the mode in the recipe; where the spectrum comes out
    upside down, reverse_indirect. Centre: (sw/2 - rfl + rfp) / f. (f1coef: unverified, no
    measured Varian data were at hand.)

    Args:
        path: the experiment's directory.

    Returns:
        The recording.

    Raises:
        UnusableData: 1D, 3D, TPPI, or parameters that are missing.
    """
    import nmrglue

    if not (path / "fid").exists() or (path / "fid").stat().st_size == 0:
        raise UnusableData("the fid file is missing or empty; copy it too")
    sizes = np.fromfile(path / "fid", ">i4", 6)  # blocks, traces, points, then bytes: ..., block
    if sizes.size < 6 or (path / "fid").stat().st_size < 32 + int(sizes[0]) * int(sizes[5]):
        raise UnusableData("the fid file is shorter than its header says; copy it again")
    try:
        parameters = nmrglue.varian.read_procpar(str(path / "procpar"))
        _, traces = nmrglue.varian.read(str(path), as_2d=True)
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UnusableData(f"not a readable Varian experiment ({error})") from error
    if _number(parameters, "ni2", 0.0) > 1:
        raise UnusableData("3D data (ni2 > 1); give a 2D recording")
    if _number(parameters, "ni", 0.0) < 2:
        raise UnusableData("1D data (no ni, or ni < 2); give a 2D recording")
    if not _number(parameters, "sw", 0.0) or not _number(parameters, "sw1", 0.0):
        raise UnusableData("sw or sw1 is missing in procpar, so an axis is unknown; add it")
    array = _text(parameters, "array", "phase")
    if array not in ("", "phase"):
        raise UnusableData(f"arrayed over {array!r}; allowed: phase only. Extract one 2D recording")
    return Recording(
        traces=traces,
        mode=_varian_mode(parameters),
        direct=_varian_axis(parameters, "", "tn", "sfrq"),
        indirect=_varian_axis(parameters, "1", "dn", "dfrq"),
    )


def _varian_mode(parameters: dict[str, Any]) -> str:
    if _text(parameters, "proc1", "ft") == "rft":
        return "proc1='rft' (TPPI)"
    if "phase" not in parameters or len(parameters["phase"]["values"]) != 2:
        return "phase-modulated"
    coefficients = _text(parameters, "f1coef", "").replace(",", " ").split()
    crossed = len(coefficients) == 8 and all(float(coefficients[i]) for i in (0, 2, 5, 7))
    return "echo-antiecho" if crossed else "states"


def _varian_axis(parameters: dict[str, Any], end: str, label: str, frequency: str) -> Axis:
    """Make the axis whose parameters' names end in `end`, from rfl and rfp in Hz."""
    width = _number(parameters, "sw" + end, 1.0)
    larmor = _number(parameters, frequency, float("nan"))  # MHz
    reference = _number(parameters, "rfl" + end, width / 2)
    offset = width / 2 - reference + _number(parameters, "rfp" + end, 0.0)
    return measured_axis(_text(parameters, label, "?"), width, 1e6 * larmor, offset / larmor)


def _number(parameters: dict[str, Any], name: str, default: float) -> float:
    entry = parameters.get(name)
    return float(entry["values"][0]) if entry and entry["values"] else default


def _text(parameters: dict[str, Any], name: str, default: str) -> str:
    entry = parameters.get(name)
    return str(entry["values"][0]) if entry and entry["values"] else default
