"""Measured 2D NMR: rows of complex t1 FIDs out of a recording, and spectra out of the rows.

A recording holds one trace (t2 FID) per increment. Reading it windows and Fourier transforms t2 and
joins the two quadrature parts (formulas in `planes_processing`), so that row k of `Plane.fid` is
the t1 FID at the direct frequency k, and a line at +f1 is exp(+2 pi i f1 t1).

Evaluation protocol: hide points of `Plane.fid`, one schedule for all rows; reconstruct row by row;
compare `spectrum(plane, fid)` with `spectrum(plane)`. Both apply the t1 window, so the points are
hidden before it, as a spectrometer leaves them out. Scores are taken over all rows and over the
signal region (`rows_between`); `restrict` narrows a plane to that region for pictures.

Measured, 25 % Poisson-gap, means of 5 schedules, RLNE and r of the real part over peaks above 3 %
(ubiquitin) or 10 % (15N13C, where 3 % is 2.3 times the noise):

    method, points hidden    ubiquitin, all rows   ubiquitin, amides   15N13C, its band
    zero-filling             0.777  0.948          0.774  0.927        0.620  0.895
    soft threshold, before   0.300  0.985          0.243  0.988        0.327  0.955
    soft threshold, after    0.437  0.980          0.393  0.980        0.549  0.890
    low rank, before         0.238  0.988          0.138  0.995        0.305  0.968
    low rank, after          -                     0.178  0.992        0.309  0.964

"After" hides points of the windowed rows. Of the 206 peaks of all rows of ubiquitin about 90 are
residual water. (Low rank, all rows: 2 schedules.)
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Complex, Float, Shaped

from ipads_stream.evaluation import planes_arrays, planes_nmrglue
from ipads_stream.evaluation.planes_processing import (
    cosine_window,
    direct_spectra,
    join_parts,
    quadrature_mode,
)
from ipads_stream.evaluation.planes_recording import (
    RECIPES,
    Axis,
    Recipe,
    Recording,
    Rows,
    UnusableData,
)
from ipads_stream.physics.spectrum import spectrum as spectrum_of

FEWEST_ROWS, FEWEST_POINTS = 2, 4  # with fewer points there is nothing to leave out


@dataclass(frozen=True)
class Plane:
    """Complex t1 FIDs, one row per point of the direct spectrum.

    Attributes:
        name: of the file.
        fid: file's unit, (direct points F2, indirect points t1), complex64.
        direct, indirect: axes; `plane.direct.ppm(rows)`, `plane.indirect.ppm(points)`.
        mode: acquisition mode, one of MODES, or "processed" for rows read from an array file.
        window: t1 window of the spectrum, (indirect points,).
        is_phased: the real part of `spectrum` is absorptive; else compare magnitudes.
        is_simulated: not measured.
    """

    name: str
    fid: Complex[np.ndarray, "rows points"]
    direct: Axis
    indirect: Axis
    mode: str
    window: Float[np.ndarray, " points"] = field(repr=False)
    is_phased: bool
    is_simulated: bool = False


def read_plane(
    path: str | Path, recipe: Recipe | None = None, variable: str | None = None
) -> Plane:
    """Read a measured plane from a file or a vendor's directory.

    Formats: NMRPipe (.fid, .dat, .pipe), a Bruker directory (ser, acqus, acqu2s), a Varian or
    Agilent directory (fid, procpar), .mat with a struct of `pos` and `neg` traces (t2, t1), and
    array files (.mat, .npz, .npy) with complex t1 FIDs, (direct points, indirect points), already
    transformed along t2. Array files may hold `direct` and `indirect`: width in Hz, Larmor
    frequency in Hz, centre in ppm.

    Args:
        path: file or directory.
        recipe: processing; None takes RECIPES[stem of the file's name], else the default.
        variable: name of the array in a .mat or .npz file; None takes the only one that fits.
            Other files have none.

    Returns:
        The plane.

    Raises:
        UnusableData: the file does not give a plane.
    """
    path = Path(path)
    if not path.exists():
        raise UnusableData(f"{path}: no such file or directory; give an existing one")
    if recipe is None:
        recipe = RECIPES.get(path.stem, Recipe())
    try:
        source = _read_source(path, variable)
        if isinstance(source, Recording):
            return _plane_of_recording(path.name, source, recipe)
        return _plane_of_rows(path.name, source, recipe)
    except KeyError as missing:
        raise UnusableData(f"{path}: the parameter {missing} is missing; restore it") from missing
    except UnusableData as reason:
        raise UnusableData(f"{path}: {' '.join(str(reason).split())}") from reason


def spectrum(
    plane: Plane, fid: Complex[np.ndarray, "rows points"] | None = None
) -> Complex[np.ndarray, "rows points"]:
    """Window the t1 FIDs and transform them: S = fftshift(fft(window fid, norm="ortho")).

    Args:
        plane: the plane.
        fid: rows in place of the plane's own, such as a reconstruction, (rows, points).

    Returns:
        Spectrum in ascending frequency along both axes; where `plane.is_phased`, the real part is
        absorptive, else use the magnitude.

    Raises:
        ValueError: `fid` does not have the plane's shape.
    """
    fid = plane.fid if fid is None else fid
    if fid.shape != plane.fid.shape:
        raise ValueError(f"fid has shape {fid.shape}; allowed: {plane.fid.shape}, as the plane")
    return spectrum_of(fid * plane.window.astype(fid.real.dtype))


def restrict(plane: Plane, rows: slice) -> Plane:
    """Keep some rows, and narrow the direct axis to them.

    Args:
        plane: the plane.
        rows: to keep, at least 1.
    """
    shifts = plane.direct.ppm(len(plane.fid))
    kept = shifts[rows]
    direct = replace(
        plane.direct,
        width=plane.direct.width * kept.size / shifts.size,
        centre_ppm=float(kept[kept.size // 2]),
    )
    return replace(plane, fid=plane.fid[rows], direct=direct)


def rows_between(plane: Plane, low_ppm: float, high_ppm: float) -> slice:
    """Give the rows between two shifts of the direct dimension.

    Args:
        plane: the plane.
        low_ppm: ppm, lowest direct shift.
        high_ppm: ppm, highest direct shift.

    Raises:
        ValueError: fewer than two rows lie between the shifts.
    """
    shifts = plane.direct.ppm(len(plane.fid))
    kept = np.flatnonzero((shifts >= low_ppm) & (shifts <= high_ppm))
    if kept.size < 2:
        raise ValueError(
            f"{low_ppm} to {high_ppm} ppm holds {kept.size} rows; "
            f"allowed: at least 2 within {shifts[0]:.2f} to {shifts[-1]:.2f} ppm"
        )
    return slice(int(kept[0]), int(kept[-1]) + 1)


def _read_source(path: Path, variable: str | None) -> Recording | Rows:
    if variable is not None and path.suffix not in (".mat", ".npz"):
        raise UnusableData(f"variable={variable}: only .mat and .npz files name arrays; omit it")
    if path.is_dir():
        if (path / "acqus").exists():
            return planes_nmrglue.read_bruker(path)
        if (path / "procpar").exists():
            return planes_nmrglue.read_varian(path)
        if (path / "2rr").exists():
            raise UnusableData("already in the frequency domain (2rr); give the raw experiment")
        raise UnusableData(
            "neither acqus nor procpar in this directory; give a Bruker experiment (ser, acqus, "
            "acqu2s) or a Varian one (fid, procpar)"
        )
    if path.stat().st_size == 0:
        raise UnusableData("the file is empty; copy it again")
    if path.name in ("ser", "fid"):
        raise UnusableData("this is the binary of a vendor's directory; give the directory")
    if path.suffix in (".mat", ".npy", ".npz"):
        return planes_arrays.read_arrays(path, variable)
    if path.suffix in (".fid", ".dat", ".pipe", ".ft", ".ft1", ".ft2"):
        return planes_nmrglue.read_nmrpipe(path)
    raise UnusableData(
        f"unknown suffix {path.suffix!r}; known: .fid .dat .pipe (NMRPipe), .mat, .npy, .npz, or a "
        "Bruker or Varian directory"
    )


def _check_numbers(values: Shaped[np.ndarray, "..."]) -> None:
    if values.size == 0:
        raise UnusableData("no data points; the recording was stopped before the first increment")
    if not np.iscomplexobj(values):
        raise UnusableData("real numbers only; give data with both quadrature channels")
    if values.ndim != 2:
        raise UnusableData(f"{values.ndim}D data; give a 2D recording or one plane of it")
    if not np.isfinite(values).all():
        raise UnusableData("values that are not finite; mend or leave out these traces first")
    if not values.any():
        raise UnusableData("all values are zero; the recording is empty")


def _check_size(fid: Shaped[np.ndarray, "rows points"]) -> None:
    rows, points = fid.shape
    if rows < FEWEST_ROWS or points < FEWEST_POINTS:
        raise UnusableData(
            f"{rows} direct by {points} indirect points; give a 2D recording of at least "
            f"{FEWEST_ROWS} by {FEWEST_POINTS}"
        )


def _plane_of_recording(name: str, recording: Recording, recipe: Recipe) -> Plane:
    _check_numbers(recording.traces)
    mode = quadrature_mode(recording, recipe)
    fid = join_parts(direct_spectra(recording, recipe), mode, recipe)
    _check_size(fid)
    return Plane(
        name=name,
        fid=fid.astype(np.complex64),
        direct=recipe.direct or recording.direct,
        indirect=recipe.indirect or recording.indirect,
        mode=mode,
        window=cosine_window(fid.shape[1], recipe.cosine_power[1]),
        is_phased=recipe.phase is not None and mode != "phase-modulated",
    )


def _plane_of_rows(name: str, rows: Rows, recipe: Recipe) -> Plane:
    _check_numbers(rows.fid)
    _check_size(rows.fid)
    if recipe.mode is not None:
        raise UnusableData(
            f"mode={recipe.mode}: the rows of an array file are transformed along t2 and hold "
            "joined quadrature parts; leave mode out"
        )
    fid = rows.fid.astype(np.complex64)
    if recipe.phase is not None:
        fid = fid * np.complex64(np.exp(1j * sum(recipe.phase)))
    return Plane(
        name=name,
        fid=fid,
        direct=recipe.direct or rows.direct,
        indirect=recipe.indirect or rows.indirect,
        mode="processed",
        window=cosine_window(fid.shape[1], recipe.cosine_power[1]),
        is_phased=recipe.phase is not None,
    )
