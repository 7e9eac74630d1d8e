"""Results as NIfTI with a JSON sidecar."""

import gzip
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import __version__
from ipads_stream.core.files import json_text, replacing, write_text

VECTOR = 1007  # NIFTI_INTENT_VECTOR
# What a map has in common with the images that it is made of.
PLACE = ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
         "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units")  # fmt: skip


def stem_of_results(path: Path, description: str = "") -> str:
    """Name of a file of results without its ending: that of the data, without what
    BIDS tells the files of a series apart by: echo, flip, inv, part.

    ``description`` stands in it as BIDS's ``desc-``.
    """
    stem = path.name.removesuffix(".gz").rpartition(".")[0] or path.name
    stem = "_".join(
        part for part in stem.split("_") if not re.match(r"(echo|flip|inv|part)-", part)
    )
    return f"{stem}_desc-{re.sub('[^A-Za-z0-9]', '', description)}" if description else stem


def write_nifti(
    file: Path,
    values: np.ndarray,
    *,
    sidecar: Mapping[str, Any],
    affine: np.ndarray | None = None,
    header: Any = None,
    is_vector: bool = False,
    source: str = "",
) -> None:
    """Writes float32 values and their sidecar; the bytes depend on nothing else.

    Args:
        file: ending in ``.nii.gz``.
        values: (X, Y[, Z]), or of vectors (X, Y[, Z], components), in the unit of the sidecar.
        sidecar: BIDS keys.
        affine: voxel indices to mm; None: the identity.
        header: of the image that the values are made of, for their place and its unit.
        is_vector: whether the last axis is that of components, the fifth of NIfTI.
        source: of the values, for the header's description.
    """
    import nibabel

    stored = np.asarray(values, np.float32)
    space = stored.ndim - is_vector
    stored = stored.reshape(*stored.shape[:space], *(1,) * (3 - space), *stored.shape[space:])
    if is_vector:
        stored = stored[:, :, :, None]
    image = nibabel.Nifti1Image(stored, np.eye(4) if affine is None else affine)
    if header is not None:
        for field in PLACE:
            image.header[field] = header[field]
        image.header["pixdim"][:4] = header["pixdim"][:4]
    image.set_data_dtype(np.float32)
    image.header["descrip"] = f"ipads_stream {__version__} {source}".rstrip().encode()[:79]
    if is_vector:
        image.header.set_intent(VECTOR, (), "")
    with replacing(file) as partial:
        partial.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    write_text(file.with_name(file.name.replace(".nii.gz", ".json")), json_text(dict(sidecar), 1))
