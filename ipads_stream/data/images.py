"""Measured images: NIfTI or NumPy files, with a JSON sidecar for their last axis.

BIDS keeps echoes and parts in separate files: ``echo-1`` in a name stands for all echoes beside it,
where there is none ``flip-1`` for all flip angles, or ``inv-1`` for all inversions; ``part-mag``
for magnitude and phase together, ``part-real`` for real and imaginary part. In NIfTI
the first three axes are space; in NumPy files all but the last are.

Source: BIDS specification 1.10, magnetic resonance imaging and quantitative MRI.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import check_declared, check_nifti, from_json
from ipads_stream.data.phase import UNITS, in_radians
from ipads_stream.data.raw import read_npy

SUFFIXES = (".nii.gz", ".nii", ".npy")
ALLOWED = f"images in a file {', '.join(SUFFIXES)}"
NUMBERED = ("echo", "flip", "inv")  # entities of BIDS, of which the first in a name counts
PARTS = (("mag", "phase"), ("real", "imag"))
SCANNER, ALIGNED = 1, 2  # codes of NIfTI's forms; what others lead to does not know where B0 is
MM = {"meter": 1e3, "mm": 1.0, "micron": 1e-3}


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images of one measurement.

    Attributes:
        values: float32 or complex64, (*space, N), finite; 0 where every image is 0 or NaN.
        header: of the NIfTI file, None of a NumPy file.
        affine: voxel indices to mm, (4, 4).
        scanner: voxel indices to mm along the axes of the scanner, the last that of B0, (3, 3);
            None: unknown.
        sources: files that were read.
        sidecar: what the JSON files say: key -> value, of several echoes the list of their values.
        notes: what was taken from the files' own words or recognised, to be told.
    """

    values: np.ndarray
    header: Any
    affine: np.ndarray
    scanner: np.ndarray | None
    sources: tuple[Path, ...]
    sidecar: dict[str, Any]
    notes: tuple[str, ...]


def read_images(path: Path) -> Images:
    """The images of a file, and of the echoes and the phase that lie beside it.

    Args:
        path: of one file; of echoes or parts the first, or any.

    Raises:
        ConfigError: under the key ``data``: not such a file, or files that do not belong together.
    """
    files = series_of(path)
    values, headers, affines, sidecars, notes = zip(*map(_whole, files), strict=True)
    for file, echo, affine in zip(files, values, affines, strict=True):
        _check_alike(file, echo, affine, files[0], values[0], affines[0])
        if len(files) > 1 and echo.shape[-1] != 1:
            raise ConfigError("data", f"{file.name} of shape {echo.shape}", "one image per echo")
    if len(set(notes)) > 1:
        raise ConfigError("data", "; ".join(sorted(set(notes))), "echoes of one kind and unit")
    together = np.concatenate(values, axis=-1)
    told = [notes[0]] if notes[0] else []
    undefined = np.isnan(together)
    if undefined.any():
        outside = (undefined | (together == 0)).all(axis=-1)
        together = np.where(outside[..., None], 0, together)
        told.append(f"{outside.mean():.3g} of the voxels are NaN or 0 in every image: outside")
    with np.errstate(over="ignore"):
        kept = together.astype(np.complex64 if np.iscomplexobj(together) else np.float32)
    if not np.isfinite(kept).all():
        raise ConfigError("data", str(path), "images of finite numbers; NaN in all or none")
    sidecar = sidecars[0]
    if len(files) > 1:
        shared = [key for key in sidecar if all(key in other for other in sidecars)]
        sidecar = {key: [other[key] for other in sidecars] for key in shared}
    return Images(
        values=kept, header=headers[0], affine=affines[0], scanner=_scanner(headers[0]),
        sources=tuple(files), sidecar=sidecar, notes=tuple(told),
    )  # fmt: skip


def stem_of(path: Path) -> str:
    """Name of a file of images without its ending."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name.removesuffix(suffix)
    raise ConfigError("data", str(path), ALLOWED)


def series_of(path: Path) -> list[Path]:
    """The file, or all of its series, such as all echoes, in their order."""
    stem = stem_of(path)
    if not path.is_file():
        raise ConfigError("data", str(path), f"{ALLOWED} that exists")
    found = (re.search(rf"(?<=_{entity}-)\d+(?=_|$)", stem) for entity in NUMBERED)
    place = next((each for each in found if each), None)
    if place is None:
        return [path]
    before, after = (re.escape(part) for part in (stem[: place.start()], path.name[place.end() :]))
    matches = (re.fullmatch(rf"{before}(\d+){after}", file.name) for file in path.parent.iterdir())
    numbered = {int(match[1]): path.with_name(match[0]) for match in matches if match}
    return [numbered[number] for number in sorted(numbered)]


def _whole(path: Path) -> tuple[np.ndarray, Any, np.ndarray, dict[str, Any], str]:
    """Values, header, affine and sidecar of a file, with its other part complex, and a note."""
    part = re.search(r"(?<=_part-)(mag|phase|real|imag)(?=[_.])", path.name)
    if part:
        pair = PARTS[0] if part[0] in PARTS[0] else PARTS[1]
        files = [path.with_name(path.name.replace(f"_part-{part[0]}", f"_part-{x}")) for x in pair]
        if all(file.is_file() for file in files):
            return _joined(*files, is_polar=pair == PARTS[0])
        if part[0] == pair[1]:
            raise ConfigError("data", path.name, f"with part-{pair[0]} beside it")
    values, header, affine = _read(path)
    sidecar = _sidecar(path)
    if not np.iscomplexobj(values) and _is_phase(sidecar):
        allowed = "magnitudes, or complex images; a phase is part-phase of part-mag beside it"
        raise ConfigError("data", f"{path.name}, a phase as ImageType says", allowed)
    return values, header, affine, sidecar, ""


def _joined(
    path: Path, other: Path, *, is_polar: bool
) -> tuple[np.ndarray, Any, np.ndarray, dict[str, Any], str]:
    """Magnitude and phase, or real and imaginary part, as :func:`_whole` gives a file."""
    (values, header, affine), (others, _, place) = _read(path), _read(other)
    _check_alike(other, others, place, path, values, affine)
    if np.iscomplexobj(values) or np.iscomplexobj(others):
        raise ConfigError("data", f"complex numbers in {path.name}", "real ones in each part")
    sidecar, about = _sidecar(path), _sidecar(other)
    times = [said["EchoTime"] for said in (sidecar, about) if "EchoTime" in said]
    if len(times) == 2 and times[0] != times[1]:
        raise ConfigError("data", f"{path.name} and its other part of EchoTime {times}", "the same")
    note = ""
    if is_polar:
        phase, how = in_radians(others, about.get("Units"), other.name)
        joined, note = values * np.exp(1j * phase), f"phase {how}"
    else:
        joined = values + 1j * others
    return joined, header, affine, about | sidecar, note


def _is_phase(sidecar: dict[str, Any]) -> bool:
    """Whether images are a phase, and not a field in another unit that was made of one."""
    kind, units = sidecar.get("ImageType"), sidecar.get("Units")
    if not isinstance(kind, list) or units not in (None, "arbitrary", *UNITS):
        return False
    return bool({"P", "PHASE"} & {str(word).upper() for word in kind})


def _check_alike(
    file: Path, values: np.ndarray, affine: np.ndarray, to: Path, first: np.ndarray, place: Any
) -> None:
    if values.shape != first.shape or not np.allclose(affine, place, atol=1e-3):
        allowed = f"of the shape {first.shape} and the place of {to.name}"
        raise ConfigError("data", f"{file.name} of shape {values.shape}", allowed)


def _scanner(header: Any) -> np.ndarray | None:
    """The form of a header that leads to mm of the scanner, if one does and has its voxels."""
    if header is None:
        return None
    import nibabel

    try:
        forms = [header.get_sform(coded=True), header.get_qform(coded=True)]
        unit = MM.get(header.get_xyzt_units()[0], 1.0)
    except (ValueError, KeyError, nibabel.spatialimages.HeaderDataError):
        return None
    kept = [form[:3, :3] for code in (SCANNER, ALIGNED) for form, given in forms if given == code]
    sides = header["pixdim"][1:4].astype(float)
    # Neither other voxels than those of the header nor axes that are not at right angles.
    if not kept or not np.allclose(
        kept[0].T @ kept[0], np.diag(sides**2), atol=0.03 * max(sides**2)
    ):
        return None
    return unit * kept[0]


def _read(path: Path) -> tuple[np.ndarray, Any, np.ndarray]:
    if path.suffix == ".npy":
        values = read_npy(path)
        if values.dtype.kind not in "iufc" or values.ndim < 2:
            given = f"{values.dtype} of shape {values.shape}"
            raise ConfigError("data", given, "numbers, space axes first, then one of channels")
        return values, None, np.eye(4)
    import nibabel

    check_nifti("data", path)
    try:
        image: Any = nibabel.load(path)
        num_bytes = math.prod(image.shape) * image.get_data_dtype().itemsize
        check_declared("data", path, num_bytes, is_packed=path.suffix == ".gz")
        values = np.asanyarray(image.dataobj)
    except ConfigError:
        raise
    except Exception as error:  # foreign bytes make this parser fail in many ways
        reason = " ".join(str(error).split())[:150]
        raise ConfigError("data", str(path), f"a whole NIfTI file ({reason})") from error
    if values.dtype.kind not in "iufc":
        raise ConfigError("data", f"voxels of type {values.dtype}", "numbers, real or complex")
    if values.ndim < 4:  # in NIfTI an axis that is left out has the length 1
        values = values.reshape(values.shape + (1,) * (4 - values.ndim))
    if values.ndim > 4:
        kept = values.reshape(*values.shape[:3], -1)
        if kept.shape[-1] != max(values.shape[3:]):
            allowed = "three space axes, then one of echoes, offsets or frames"
            raise ConfigError("data", f"images of shape {values.shape}", allowed)
        values = kept
    return values, image.header, np.asarray(image.affine)


def _sidecar(path: Path) -> dict[str, Any]:
    """What the JSON file beside an image says; nothing where there is none."""
    beside = path.with_name(f"{stem_of(path)}.json")
    if not beside.is_file():
        return {}
    try:
        content = from_json(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError("data", str(beside), f"a sidecar in JSON ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError("data", str(beside), "a sidecar with keys and values")
    return content
