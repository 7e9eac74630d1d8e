"""Susceptibility of measured gradient echoes: field map, background removal, every method's map.

The images are a part of a head (MriResearchTools.jl, test data, MIT): three echoes, 0.469 x 0.469 x
1 mm. Echo times (4, 8, 12 ms), main field (3 T, along the third axis) and the sign of the phase are
those of that package's tests, not verified. The local field is resampled to 1 mm, the voxels of the
networks. There is no truth: the residual says how much of the local field a map does not explain,
which noise and sources outside the part bound from below, and which a bad map can make small, too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, zoom

from ipads_stream.acquisition.background_removal import local_field
from ipads_stream.acquisition.phase_unwrapping import off_resonance, phase_from_numbers
from ipads_stream.core.constants import GAMMA_BAR_1H
from ipads_stream.physics.fields import dipole
from ipads_stream.report.figures import drawing

TE = np.array([4e-3, 8e-3, 12e-3])
B0 = 3.0
SPACING = (0.469e-3, 0.469e-3, 1e-3)
ISOTROPIC = (1e-3, 1e-3, 1e-3)
ALONG = (0.0, 0.0, 1.0)


def local_fields() -> tuple[np.ndarray, np.ndarray]:
    """The local field in ppm and where it is known, (X, Y, Z) of 1 mm."""
    import nibabel

    folder = Path(os.environ["IPADS_DATA"]) / "gre"
    magnitude, stored = (
        np.asarray(nibabel.load(folder / f"gre_small_{kind}.nii").dataobj, dtype=float)
        for kind in ("Mag", "Phase")
    )
    df, _ = off_resonance(magnitude * np.exp(1j * phase_from_numbers(stored)), TE)
    first = magnitude[..., 0]
    mask = first > 0.2 * np.quantile(first, 0.95)
    found, known = local_field(df, mask, SPACING, largest=6e-3, smallest=1.5e-3)
    steps = [d / 1e-3 for d in SPACING]
    whole = zoom(found / (GAMMA_BAR_1H * B0) * 1e6, steps, order=1)
    inside = zoom(known.astype(float), steps, order=1) > 0.9
    return np.where(inside, whole, 0.0).astype(np.float32), inside


def measured_maps(
    methods: Mapping[str, Callable[..., Mapping[str, np.ndarray]]], path: Path
) -> dict[str, Any]:
    """Residual |W (f - D x)| / |W f| of every method's map, and a figure of the maps.

    Args:
        methods: inputs to maps.
        path: of the figure.
    """
    field, mask = local_fields()
    maps = {
        name: method({"field_ppm": field[None], "mask": mask[None]})["chi_ppm"][0]
        for name, method in methods.items()
    }
    inner = binary_erosion(mask, iterations=1)
    found: dict[str, Any] = {"voxels": int(mask.sum()), "field_sd_ppm": float(field[mask].std())}
    found["residual"] = {
        name: float(
            np.linalg.norm((field - dipole.field(x, ISOTROPIC, ALONG))[mask])
            / np.linalg.norm(field[mask])
        )
        for name, x in maps.items()
    }
    found["sd_ppm"] = {name: float(x[inner].std()) for name, x in maps.items()}
    middle = mask.shape[2] // 2
    reach = 3 * float(np.median([x[inner].std() for x in maps.values()]))
    with drawing(path, 2, (len(maps) + 2) // 2, height=5.0) as axes:
        for axis in axes.flat:
            axis.set_axis_off()
        panels = {"local field (x 3)": 3 * field, **maps}
        for axis, (name, values) in zip(axes.flat, panels.items(), strict=False):
            axis.imshow(values[:, :, middle].T, cmap="gray", vmin=-reach, vmax=reach)
            axis.set_title(f"{name}, ±{reach:.2g} ppm", fontsize=6)
    return found
