"""Pictures of templates: galleries in the plane, three cuts through volumes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.evaluation.figures import drawing

WINDOW = (1.0, 99.0)  # percentiles of a map that are its darkest and brightest grey
COLUMNS = 6
CUTS = ("sagittal", "coronal", "axial")  # normal to the first, second, third axis


def template_gallery(
    maps: Mapping[str, Float[Any, "B ..."]],
    path: Path,
    *,
    count: int = COLUMNS,
    units: Mapping[str, tuple[str, float]] | None = None,
) -> Path:
    """The first samples of every map, one row of each; of volumes the cuts through their middle.

    Args:
        maps: name -> (B, X, Y) or (B, X, Y, Z), SI.
        path: of the PNG; its folder exists.
        count: of samples, or of volumes two, each with its three cuts.
        units: name -> unit of the colour bar and its factor to SI, e.g. ("ms", 1e-3).

    Raises:
        ValueError: maps without samples or of other axes.
    """
    pictures = {name: _pictures(name, np.asarray(of), count) for name, of in maps.items()}
    if not pictures:
        raise ValueError("maps: at least one is needed")
    columns = max(len(row) for row in pictures.values())
    height = 0.35 + len(pictures) * (10.0 / columns + 0.25)
    with drawing(path, len(pictures), columns, height=height) as axes:
        for row, (name, drawn) in zip(axes, pictures.items(), strict=True):
            unit, factor = (units or {}).get(name, ("", 1.0))
            low, high = _window(name, np.concatenate([of.reshape(-1) for _, of in drawn]) / factor)
            for axis in row:
                axis.set_axis_off()
            for axis, (title, picture) in zip(row, drawn, strict=False):
                shown = axis.imshow(
                    picture.T / factor, vmin=low, vmax=high, cmap=_colours(name), origin="lower",
                    interpolation="nearest",
                )  # fmt: skip
                axis.set_title(title)
            bar = row[-1].figure.colorbar(shown, ax=list(row), fraction=0.015, pad=0.01)
            bar.set_label(f"{name} ({unit})" if unit else name)
    return path


def _pictures(name: str, maps: Any, count: int) -> list[tuple[str, Any]]:
    """Titles and pictures (X, Y) of the first samples."""
    if maps.ndim not in (3, 4) or len(maps) == 0:
        raise ValueError(f"{name}: shape {maps.shape}; (B, X, Y) or (B, X, Y, Z) is allowed")
    if maps.ndim == 3:
        return [(f"sample {b}", maps[b]) for b in range(min(count, len(maps)))]
    return [
        (f"sample {b}, {cut}", np.take(maps[b], maps.shape[1 + axis] // 2, axis=axis))
        for b in range(min(max(count // 3, 1), len(maps)))
        for axis, cut in enumerate(CUTS)
    ]


def _window(name: str, values: Any) -> tuple[float, float]:
    """Values of the first and the last colour; 0 in the middle where a map may be negative."""
    values = values[np.isfinite(values)]
    low, high = (float(x) for x in np.percentile(values, WINDOW))
    if _is_signed(name):
        there = np.abs(values[values != 0])
        high = float(np.percentile(there, WINDOW[1])) if there.size else 1.0
        low = -high
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _is_signed(name: str) -> bool:
    return name.startswith(("chi", "df"))


def _colours(name: str) -> str:
    return "RdBu_r" if _is_signed(name) else "viridis"


def preview_phantoms(output: Path, *, seed: int = 0, size: int = 128) -> list[Path]:
    """Galleries of everything that templates are made of; brains and images where they are there.

    Args:
        output: folder of the pictures; made where it is missing.
        seed: of the samples.
        size: voxels along each axis of pictures; of volumes half of it.

    Returns:
        Paths of the PNG files.
    """
    from ipads_stream.core.errors import ConfigError
    from ipads_stream.core.random import Keys
    from ipads_stream.phantoms.grid import Grid

    output.mkdir(parents=True, exist_ok=True)
    keys = Keys(seed, "preview", np.arange(COLUMNS))
    plane = Grid((size, size), (0.22 / size,) * 2)
    half = max(size // 2, 8)
    space = Grid((half,) * 3, (0.22 / half,) * 3)
    galleries = {
        "shapes": lambda: _shapes(keys, plane),
        "shapes_3d": lambda: _shapes(keys, space),
        "fields": lambda: _fields(keys, plane),
        "textures": lambda: _textures(keys, plane),
        "images": lambda: _images(keys, plane),
        "brain": lambda: _brain(keys, plane),
        "brain_3d": lambda: _brain(keys, space),
        "susceptibility": lambda: _sources(keys, space),
    }
    units = {"T1": ("ms", 1e-3), "T2": ("ms", 1e-3), "df": ("Hz", 1.0), "chi_ppm": ("ppm", 1.0)}
    paths = []
    for name, make in galleries.items():
        try:
            maps = make()
        except ConfigError as error:
            if error.key != "folder":
                raise
            continue  # neither images nor probability maps are there
        paths.append(template_gallery(maps, output / f"{name}.png", units=units))
    return paths


def _shapes(keys: Any, grid: Any) -> dict[str, Any]:
    from ipads_stream.distributions import LogUniform, Uniform
    from ipads_stream.phantoms.pouring import modulated
    from ipads_stream.phantoms.random_shapes import RandomShapes
    from ipads_stream.phantoms.rasterize import draw_values, rasterized
    from ipads_stream.phantoms.textures import LatticeTexture

    shapes = RandomShapes().draw(keys, grid)
    quantities = {"T2": LogUniform(low=20, high=700, unit="ms"), "PD": Uniform(low=0, high=1)}
    maps = rasterized(shapes, draw_values(keys, quantities, shapes), grid)
    texture = LatticeTexture().draw(keys, grid)[:, 0]
    return {"T2": maps[:, 0], "T2 textured": modulated(maps[:, 0], texture, 0.6), "PD": maps[:, 1]}


def _fields(keys: Any, grid: Any) -> dict[str, Any]:
    from ipads_stream.phantoms.smooth_fields import NoiseField, moled_b0, moled_b1

    return {
        "B1": moled_b1().draw(keys, grid),
        "df": moled_b0().draw(keys, grid),
        "noise": NoiseField().draw(keys, grid),
    }


def _textures(keys: Any, grid: Any) -> dict[str, Any]:
    from ipads_stream.phantoms.textures import FractalTexture, LatticeTexture

    return {
        "fractal": FractalTexture().draw(keys, grid)[:, 0],
        "lattice": LatticeTexture().draw(keys, grid)[:, 0],
    }


def _images(keys: Any, grid: Any) -> dict[str, Any]:
    from ipads_stream.distributions import LogUniform
    from ipads_stream.phantoms.pouring import by_rank
    from ipads_stream.phantoms.textures import ImageTexture

    texture = ImageTexture().draw(keys, grid)[:, 0]
    return {
        "image": texture,
        "T2": by_rank(texture, LogUniform(low=20, high=700, unit="ms")),
    }


def _brain(keys: Any, grid: Any) -> dict[str, Any]:
    from ipads_stream.phantoms.brain import TissueBrain

    maps = TissueBrain().draw(keys, grid)
    return {name: maps[name] for name in ("T1", "PD", "gm")}


def _sources(keys: Any, grid: Any) -> dict[str, Any]:
    from ipads_stream.phantoms.sources import lesions, spio_spots, vessels

    makers = {"lesions": lesions, "vessels": vessels, "spots": spio_spots}
    maps = {name: make().maps(keys, grid, name=name) for name, make in makers.items()}
    return {f"chi_ppm {name}": of.max(axis=3) + of.min(axis=3) for name, of in maps.items()}
