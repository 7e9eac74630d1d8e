"""Parametric templates: random shapes, textures, smooth fields, tissue maps.

Everything is keyed by sample index: the same sample on any batch, thread, rank and device. What is
drawn is small and drawn on the host; maps are made on the device, float32, batch axis first.
"""

from ipads_stream.phantoms.brain import TissueBrain
from ipads_stream.phantoms.grid import Grid
from ipads_stream.phantoms.random_shapes import RandomShapes
from ipads_stream.phantoms.rasterize import draw_values, rasterized
from ipads_stream.phantoms.shapes import Shapes
from ipads_stream.phantoms.smooth_fields import (
    BumpField,
    NoiseField,
    PolynomialField,
    SumOfFields,
    moled_b0,
    moled_b1,
    normalised,
)
from ipads_stream.phantoms.sources import Sources, lesions, spio_spots, vessels
from ipads_stream.phantoms.textures import (
    FractalTexture,
    ImageTexture,
    LatticeTexture,
    affine,
    by_rank,
    mixed,
    modulated,
)

__all__ = [
    "BumpField", "FractalTexture", "Grid", "ImageTexture", "LatticeTexture", "NoiseField",
    "PolynomialField", "RandomShapes", "Shapes", "Sources", "SumOfFields", "TissueBrain", "affine",
    "by_rank", "draw_values", "lesions", "mixed", "modulated", "moled_b0", "moled_b1",
    "normalised", "rasterized", "spio_spots", "vessels",
]  # fmt: skip
