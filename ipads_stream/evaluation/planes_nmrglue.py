"""File formats of planes: NMRPipe, Bruker and Varian through nmrglue; MATLAB and NumPy arrays.

Signs, in the file as it is read: NMRPipe, Bruker and Varian FIDs have a line of higher shift at
+f, exp(+2 pi i f t), along t2 and (States: c + i s) along t1; nmrglue's Bruker examples reverse the
spectrum only because they draw it in descending order. In Bruker echo/anti-echo data the first of
two traces is the echo, exp(-2 pi i f1 t1).
"""

import warnings
import zipfile
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from ipads_stream.evaluation.planes import Axis, Recording, UnusableData

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
    axes = []
    for name in ("FDF2", "FDF1"):
        width, frequency = header[name + "SW"], header[name + "OBS"] * 1e6
        axes.append(_axis(header[name + "LABEL"], width, frequency, header[name + "CAR"]))
    return Recording(traces, mode, *axes)


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
    widths = (direct["SW_h"], indirect["SW"] * indirect["SFO1"])
    axes = []
    for axis, width in zip((direct, indirect), widths, strict=True):
        frequency = 1e6 * axis.get("BF1", axis["SFO1"])
        centre = axis.get("O1", 0.0) / frequency * 1e6
        axes.append(_axis(axis.get("NUC1", "?"), width, frequency, centre))
    return Recording(values[:, 0::2] + 1j * values[:, 1::2], mode, *axes, _group_delay(direct))


def _bruker_type(header: dict) -> str:
    order = ">" if header.get("BYTORDA", 0) == 1 else "<"
    return order + ("f8" if header.get("DTYPA", 0) == 2 else "i4")


def _group_delay(header: dict) -> float:
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

    def value(name: str, default: float | str) -> float | str:
        entry = parameters.get(name)
        return type(default)(entry["values"][0]) if entry and entry["values"] else default

    if value("ni2", 0.0) > 1:
        raise UnusableData("3D data (ni2 > 1); give a 2D recording")
    if value("ni", 0.0) < 2:
        raise UnusableData("1D data (no ni, or ni < 2); give a 2D recording")
    if not value("sw", 0.0) or not value("sw1", 0.0):
        raise UnusableData("sw or sw1 is missing in procpar, so an axis is unknown; add it")
    array = value("array", "phase")
    if array not in ("", "phase"):
        raise UnusableData(f"arrayed over {array!r}; allowed: phase only. Extract one 2D recording")
    if value("proc1", "ft") == "rft":
        mode = "proc1='rft' (TPPI)"
    elif len(parameters["phase"]["values"] if "phase" in parameters else []) == 2:
        coefficients = value("f1coef", "").replace(",", " ").split()
        crossed = len(coefficients) == 8 and all(abs(float(coefficients[i])) for i in (0, 2, 5, 7))
        mode = "echo-antiecho" if crossed else "states"
    else:
        mode = "phase-modulated"
    axes = []
    for end, label, frequency in (("", "tn", "sfrq"), ("1", "dn", "dfrq")):
        width, larmor = value("sw" + end, 1.0), value(frequency, float("nan"))
        offset = width / 2 - value("rfl" + end, width / 2) + value("rfp" + end, 0.0)
        axes.append(_axis(value(label, "?"), width, 1e6 * larmor, offset / larmor))
    return Recording(traces, mode, *axes)


def read_arrays(
    path: Path, variable: str | None
) -> Recording | tuple[Shaped[np.ndarray, "..."], tuple[Axis, Axis]]:
    """Read a .mat, .npz or .npy file.

    Args:
        path: the file.
        variable: name of the array (.mat, .npz); None takes the only complex array, or the only
            struct with the fields `pos` and `neg`.

    Returns:
        Rows of t1 FIDs with their axes, or the recording of an echo/anti-echo struct.

    Raises:
        UnusableData: not readable, no such variable, or several.
    """
    try:
        if path.suffix == ".mat":
            import scipy.io

            content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
        else:
            content = np.load(path, allow_pickle=False)
            content = dict(content) if path.suffix == ".npz" else {"array": content}
    except NotImplementedError:
        raise UnusableData("a MATLAB 7.3 file; save it with '-v7'") from None
    except (ValueError, TypeError, OSError, zipfile.BadZipFile) as error:
        raise UnusableData(f"not a readable {path.suffix} file ({error})") from error
    content = {name: item for name, item in content.items() if not name.startswith("__")}
    axes = tuple(_stored_axis(content.pop(name, None), name) for name in ("direct", "indirect"))
    fitting = [name for name, item in content.items() if _is_struct(item) or np.iscomplexobj(item)]
    chosen = fitting[0] if variable is None and len(fitting) == 1 else variable
    chosen = next(iter(content)) if chosen is None and len(content) == 1 else chosen
    if chosen not in content:
        asked = "no single complex array" if variable is None else f"no variable {variable!r}"
        raise UnusableData(f"{asked}; name one with variable=..., there are: {sorted(content)}")
    item = content[chosen]
    if not _is_struct(item):
        return np.asarray(item), axes
    if item.pos.shape != item.neg.shape or item.pos.ndim != 2:
        raise UnusableData(f"pos {item.pos.shape} and neg {item.neg.shape}; allowed: equal, 2D")
    traces = np.stack([item.pos.T, item.neg.T], axis=1).reshape(-1, len(item.pos))
    return Recording(traces, "echo-antiecho", *axes)


def _is_struct(item: object) -> bool:
    return hasattr(item, "pos") and hasattr(item, "neg")


def _stored_axis(values: Shaped[np.ndarray, "..."] | None, name: str) -> Axis:
    if values is None:
        return Axis()
    if np.shape(values) != (3,):
        raise UnusableData(f"{name} has shape {np.shape(values)}; store width, frequency, centre")
    return _axis("?", *values)


def _axis(nucleus: str, width: float, frequency: float, centre_ppm: float) -> Axis:
    if not width > 0:
        raise UnusableData(f"spectral width {width} Hz of {nucleus}; give an axis in the recipe")
    return Axis(str(nucleus), float(width), float(frequency), float(centre_ppm))
