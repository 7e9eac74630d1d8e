"""File formats of spectrometers and NMRPipe, read through nmrglue; planes in array files.

Signs, in the file as it is read: NMRPipe and Bruker FIDs have a line of higher shift at +f,
exp(+2 pi i f t), along t2 and (States: c + i s) along t1; nmrglue's Bruker examples reverse the
spectrum only because they draw it in descending order; Varian: varian.py. In Bruker echo/anti-echo
data the first of two traces is the echo, exp(-2 pi i f1 t1). Bruker's gradient-selected magnitude
experiments (QF: COSY, HMBC) record the echo alone, J-resolved ones keep the sense of t2; neither is
in a parameter.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import check_declared, check_size, load_npy
from ipads_stream.core.matlab import read_mat
from ipads_stream.data.planes.gate import NON_UNIFORM
from ipads_stream.data.planes.recording import (
    PROCESSED,
    Axis,
    Recording,
    UnusableData,
    measured_axis,
)

BRUKER_MODES = {1: "phase-modulated", 2: "qseq", 3: "tppi"}
BRUKER_MODES |= {4: "states", 5: "states-tppi", 6: "echo-antiecho"}
LISTS = ("vdlist", "vclist", "vplist", "vtlist", "valist", "difflist")  # of pseudo-2D experiments
LIST_FOLDERS = tuple(f"lists/{kind}" for kind in ("vd", "vc", "vp", "vt", "va"))
NMRPIPE_MODES = {(0, 0): "phase-modulated", (1, 0): "tppi", (2, 0): "states", (2, 2): "states-tppi"}


def read_nmrpipe(path: Path) -> Recording:
    """Read a 2D NMRPipe time-domain file.

    The header says hypercomplex (FD2DPHASE 2), TPPI (1) or neither (0: phase-modulated; 3 and 4
    are images and arrays, whose second dimension is no time) and whether the sign alternates
    (FDF1AQSIGN 2: States-TPPI). It does not record echo/anti-echo: give the mode in the recipe.
    FDF1AQSIGN 16 is refused because programs disagree about it (nmrglue writes it for States-TPPI,
    NMRPipe reads a negated imaginary part).

    Raises:
        UnusableData: not NMRPipe, not 2D, not in the time domain, real, unknown quadrature.
    """
    import nmrglue

    check_size("data", path)
    if path.stat().st_size <= 2048:
        raise UnusableData("an NMRPipe header without data points; copy the file again")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # how nmrglue reports a wrong size
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
    phase, sign = header["FD2DPHASE"], header["FDF1AQSIGN"]
    axes = _nmrpipe_axis(header, "FDF2"), _nmrpipe_axis(header, "FDF1")
    mode = NMRPIPE_MODES.get(
        (int(phase), int(sign)), f"FD2DPHASE {phase:g} with FDF1AQSIGN {sign:g}"
    )
    fault = f"a pseudo-2D array (FD2DPHASE {phase:g})" if int(phase) in (3, 4) else ""
    if header.get("FDNUSDIM", 0) > 0:
        fault = f"FDNUSDIM {header['FDNUSDIM']:g}: {NON_UNIFORM}"
    return Recording(traces, mode, *axes, fault=fault)


def _nmrpipe_axis(header: dict[str, Any], name: str) -> Axis:
    width, frequency = header[name + "SW"], header[name + "OBS"] * 1e6
    return measured_axis(header[name + "LABEL"], width, frequency, header[name + "CAR"])


def read_bruker(path: Path) -> Recording:
    """Read the directory of a 2D Bruker experiment: ser, acqus and acqu2s.

    Width of t1: SW (ppm) times SFO1; centre: O1 / BF1. The digital filter's delay is GRPDLY, or
    where that is absent the table of DSPFVS and DECIM.

    Raises:
        UnusableData: 1D, 3D, only processed data, unknown types or sizes.
    """
    import nmrglue

    files = {file.name for file in path.iterdir()}
    faults = {
        "3D data (acqu3s); give a 2D recording": "acqu3s" in files,
        "1D data (fid, no ser); give a 2D recording": "fid" in files and "ser" not in files,
        "no ser file, so no time-domain data; give the raw experiment": "ser" not in files,
        "acqu2s is missing, so the t1 axis is unknown; copy it too": "acqu2s" not in files,
    }
    for fault, is_so in faults.items():
        if is_so:
            raise UnusableData(fault)
    check_size("data", path / "ser")
    if (path / "ser").stat().st_size == 0:
        raise UnusableData("the ser file is empty; copy it again")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = nmrglue.bruker.read_acqus_file(str(path), ["acqus", "acqu2s"])
    direct, indirect = header["acqus"], header["acqu2s"]
    kind = {0: "i4", 2: "f8"}.get(direct.get("DTYPA", 0))
    if kind is None or direct.get("AQ_mod", 3) not in (1, 3):
        given = f"DTYPA={direct.get('DTYPA', 0)}, AQ_mod={direct.get('AQ_mod', 3)}"
        raise UnusableData(f"{given}; allowed: DTYPA 0 or 2, and AQ_mod 1 or 3 (qsim, DQD)")
    order = ">" if direct.get("BYTORDA", 0) == 1 else "<"
    values = np.fromfile(path / "ser", order + kind).astype(np.float64)
    length, announced = int(direct["TD"]), int(indirect["TD"])
    stride = _stride(values, length, announced, 1024 // np.dtype(kind).itemsize)
    values = values.reshape(-1, stride)[:announced, : length - length % 2]
    code = int(indirect.get("FnMODE", 0))
    is_resolved = "jres" in str(direct.get("PULPROG", "")).lower()
    axis = _bruker_axis(indirect, indirect["SW"] * indirect["SFO1"])
    return Recording(
        traces=values[:, 0::2] + 1j * values[:, 1::2],
        mode=BRUKER_MODES.get(code, f"FnMODE {code} ({'undefined' if code == 0 else 'unknown'})"),
        direct=_bruker_axis(direct, direct["SW_h"]),
        indirect=Axis("J", axis.width) if is_resolved else axis,
        delay=_group_delay(direct),
        announced=announced,
        fault=_bruker_fault(path, direct, code, len(values), announced),
        is_echo=code == 1 and not is_resolved,
        phases=_bruker_phases(path),
    )


def _stride(values: Float[np.ndarray, " n"], length: int, rows: int, block: int) -> int:
    """Numbers from trace to trace: every trace starts a block of 1024 bytes, or none does."""
    if length < 2 or rows < 1:
        raise UnusableData(f"TD={length} by TD={rows}; at least 2 by 1 numbers")
    padded = -(-length // block) * block
    if values.size % padded == 0:
        is_filler = not values.reshape(-1, padded)[:, length:].any()
        if is_filler or values.size == padded * rows or values.size % length:
            return padded
    if values.size % length:
        raise UnusableData(f"{values.size} numbers are not whole traces of TD={length}; copy again")
    return length


def _bruker_fault(
    path: Path, direct: dict[str, Any], code: int, recorded: int, announced: int
) -> str:
    """Why t1 is not uniform, or no time.

    NusAMOUNT (%) stands in uniform experiments, too; it counts where just that share was recorded.
    """
    amount = float(direct.get("NusAMOUNT", 100))
    is_share = amount < 100 and abs(recorded - amount / 100 * announced) <= 2 < announced - recorded
    signs = {
        f"FnTYPE {direct.get('FnTYPE')}": int(direct.get("FnTYPE", 0)) >= 2,
        f"NusAMOUNT {amount:g} %, {recorded} of {announced} traces": is_share,
        "nuslist": (path / "nuslist").exists(),
    }
    for sign, is_there in signs.items():
        if is_there:
            return f"{sign}: {NON_UNIFORM}"
    lists = [name for name in (*LISTS, *LIST_FOLDERS) if (path / name).exists()]
    if lists and code in (0, 1):  # else t1 has a quadrature of its own
        return f"pseudo-2D data ({lists[0]}): not over a time t1; give a recording that is"
    return ""


def _bruker_phases(path: Path) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """PHC0 and PHC1 of F2 and F1 in pdata/1, rad; None: not processed, or never phased."""
    import nmrglue

    try:
        headers = [
            nmrglue.bruker.read_jcamp(str(path / "pdata" / "1" / name))
            for name in ("procs", "proc2s")
        ]
        (a, a1), (b, b1) = (np.deg2rad([float(h["PHC0"]), float(h["PHC1"])]) for h in headers)
    except (OSError, KeyError, ValueError, TypeError, UnicodeError):
        return None
    return ((float(a), float(a1)), (float(b), float(b1))) if any((a, a1, b, b1)) else None


def _bruker_axis(header: dict[str, Any], width: float) -> Axis:
    frequency = 1e6 * header.get("BF1", header["SFO1"])
    centre = header.get("O1", 0.0) / frequency * 1e6
    return measured_axis(header.get("NUC1", "?"), width, frequency, centre)


def _group_delay(header: dict[str, Any]) -> float:
    """Delay of the digital filter in points of t2; 0 for analogue filters."""
    from nmrglue.fileio.bruker import bruker_dsp_table

    delay = float(header.get("GRPDLY", 0))
    table = bruker_dsp_table.get(header.get("DSPFVS"), {})
    return delay if delay > 0 else float(table.get(header.get("DECIM"), 0.0))


def read_arrays(path: Path, variable: str | None) -> Recording:
    """Read rows of t1 FIDs from a .mat, .npz or .npy file, or an echo/anti-echo recording.

    Args:
        path: the file.
        variable: name of the array (.mat, .npz); None takes the only complex array, or the only
            struct with the fields `pos` and `neg`.

    Raises:
        UnusableData: not readable, no such variable, or several.
    """
    content = _load(path)
    direct = _stored_axis(content.pop("direct", None), "direct")
    indirect = _stored_axis(content.pop("indirect", None), "indirect")
    item = _choose(content, variable)
    if not isinstance(item, tuple):
        return Recording(item, PROCESSED, direct, indirect)
    pos, neg = item
    if pos.shape != neg.shape or pos.ndim != 2:
        raise UnusableData(f"pos {pos.shape} and neg {neg.shape}; allowed: equal, 2D")
    traces = np.stack([pos.T, neg.T], axis=1).reshape(-1, len(pos))
    return Recording(traces, "echo-antiecho", direct, indirect)


def _load(path: Path) -> dict[str, Any]:
    """Give the contents of the file by name; a .npy file's array is called "array"."""
    try:
        if path.suffix == ".mat":
            return _with_echoes(read_mat("data", path))
        if path.suffix == ".npy":
            return {"array": load_npy(path)}
        with np.load(path, allow_pickle=False) as archive:
            sizes = sum(entry.file_size for entry in archive.zip.infolist())
            check_declared("data", path, sizes, is_packed=True)
            return dict(archive)
    except ConfigError:
        raise
    except Exception as error:  # foreign bytes make these parsers fail in many ways
        raise UnusableData(f"not a readable {path.suffix} file ({error})") from error


def _with_echoes(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by name, and (pos, neg) of a struct that has these fields."""
    structs = [name.removesuffix(".pos") for name in arrays if name.endswith(".pos")]
    both = {name: (arrays[f"{name}.pos"], arrays[f"{name}.neg"])
            for name in structs if f"{name}.neg" in arrays}  # fmt: skip
    return both | {name: x for name, x in arrays.items() if "." not in name}


def _choose(content: dict[str, Any], variable: str | None) -> Any:
    fitting = [
        name for name, item in content.items() if isinstance(item, tuple) or np.iscomplexobj(item)
    ]
    chosen = fitting[0] if variable is None and len(fitting) == 1 else variable
    chosen = next(iter(content)) if chosen is None and len(content) == 1 else chosen
    if chosen is None or chosen not in content:
        asked = "no single complex array" if variable is None else f"no variable {variable!r}"
        raise UnusableData(f"{asked}; name one with variable=..., there are: {sorted(content)}")
    return content[chosen]


def _stored_axis(values: Any, name: str) -> Axis:
    """Make an axis of a stored width in Hz, Larmor frequency in Hz and centre in ppm."""
    if values is None:
        return Axis()
    values = np.asarray(values)
    if values.shape != (3,) or values.dtype.kind not in "iuf":
        given = f"{name} has shape {values.shape} and type {values.dtype}"
        raise UnusableData(f"{given}; store the numbers width, frequency, centre")
    return measured_axis("?", *values)
