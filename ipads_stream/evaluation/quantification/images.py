"""Measured images: NIfTI or NumPy files with what a JSON sidecar says of their last axis.

BIDS keeps echoes and the phase in files of their own: ``echo-1`` in a name stands for all echoes
beside it, and ``part-mag`` for magnitude and phase (rad) together. In NIfTI the first three axes
are space; in NumPy files all but the last are.

Source: BIDS specification 1.10, magnetic resonance imaging and quantitative MRI.
"""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError

SUFFIXES = (".nii.gz", ".nii", ".npy")
ALLOWED = f"images in a file {', '.join(SUFFIXES)}"


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images of one measurement.

    Attributes:
        values: float32 or complex64, (*space, N).
        header: of the NIfTI file, None of a NumPy file.
        affine: voxel indices to mm, (4, 4).
        stem: name of the file without its ending.
        sources: files that were read.
        sidecar: what the JSON files say: key -> value, of several echoes the list of their values.
    """

    values: np.ndarray
    header: Any
    affine: np.ndarray
    stem: str
    sources: tuple[Path, ...]
    sidecar: dict[str, Any]


def read_images(path: Path) -> Images:
    """The images of a file, and of the echoes and the phase that lie beside it.

    Args:
        path: of one file; of echoes or parts the first, or any.

    Raises:
        ConfigError: under the key ``data``: not such a file, or files that do not belong together.
    """
    files = _echoes(path)
    read = [_with_phase(file) for file in files]
    values = [values for values, _, _ in read]
    headers, affines = [header for _, header, _ in read], [affine for _, _, affine in read]
    for file, one, affine in zip(files, values, affines, strict=True):
        if one.shape != values[0].shape or not np.allclose(affine, affines[0], atol=1e-3):
            allowed = f"of the shape {values[0].shape} and the place of {files[0].name}"
            raise ConfigError("data", f"{file.name} of shape {one.shape}", allowed)
        if len(files) > 1 and one.shape[-1] != 1:
            raise ConfigError("data", f"{file.name} of shape {one.shape}", "one image per echo")
    together = np.concatenate(values, axis=-1)
    if not np.isfinite(together).all():
        raise ConfigError("data", str(path), "images of finite numbers")
    sidecars = [_sidecar(file) for file in files]
    sidecar = sidecars[0]
    if len(files) > 1:
        shared = [key for key in sidecar if all(key in other for other in sidecars)]
        sidecar = {key: [other[key] for other in sidecars] for key in shared}
    return Images(
        values=together.astype(np.complex64 if np.iscomplexobj(together) else np.float32),
        header=headers[0],
        affine=affines[0],
        stem=re.sub(r"_(echo-\d+|part-(mag|phase))(?=_|$)", "", stem_of(path)),
        sources=tuple(files),
        sidecar=sidecar,
    )


def stem_of(path: Path) -> str:
    """Name of a file of images without its ending."""
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)]
    raise ConfigError("data", str(path), ALLOWED)


def _echoes(path: Path) -> list[Path]:
    """The file, or all echoes of which it is one, in their order."""
    stem = stem_of(path)
    if not path.is_file():
        raise ConfigError("data", str(path), f"{ALLOWED} that exists")
    found = re.search(r"(?<=_echo-)\d+(?=_|$)", stem)
    if found is None:
        return [path]
    ending = path.name[len(stem) :]
    pattern = re.compile(re.escape(stem[: found.start()]) + r"(\d+)" + re.escape(
        stem[found.end() :] + ending))  # fmt: skip
    numbered = {
        int(match[1]): file
        for file in path.parent.iterdir()
        if (match := pattern.fullmatch(file.name))
    }
    return [numbered[number] for number in sorted(numbered)]


def _with_phase(path: Path) -> tuple[np.ndarray, Any, np.ndarray]:
    """Values, header and affine of a file; of a magnitude with its phase beside it, complex."""
    values, header, affine = _read(path)
    for own, other in (("part-mag", "part-phase"), ("part-phase", "part-mag")):
        beside = path.with_name(path.name.replace(f"_{own}", f"_{other}"))
        if f"_{own}" not in path.name or not beside.is_file():
            continue
        second, _, _ = _read(beside)
        if second.shape != values.shape:
            raise ConfigError("data", f"{beside.name} of shape {second.shape}",
                              f"the shape {values.shape} of {path.name}")  # fmt: skip
        size, phase = (values, second) if own == "part-mag" else (second, values)
        if np.abs(phase).max(initial=0) > 2 * np.pi + 1e-3:
            raise ConfigError("data", f"a phase of {np.abs(phase).max():.4g} in {path.name}",
                              "a phase in radians, -2 pi to 2 pi")  # fmt: skip
        return size * np.exp(1j * phase), header, affine
    return values, header, affine


def _read(path: Path) -> tuple[np.ndarray, Any, np.ndarray]:
    if path.suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise ConfigError("data", str(path), f"a whole NumPy file ({error})") from error
        if values.dtype.kind not in "iufc" or values.ndim < 2:
            given = f"{values.dtype} of shape {values.shape}"
            raise ConfigError("data", given, "numbers, space axes first, then one of channels")
        return values, None, np.eye(4)
    import nibabel

    try:
        image: Any = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError,
            zlib.error) as error:  # fmt: skip
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
        content = json.loads(beside.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("data", str(beside), f"a sidecar in JSON ({error})") from error
    if not isinstance(content, dict):
        raise ConfigError("data", str(beside), "a sidecar with keys and values")
    return content
