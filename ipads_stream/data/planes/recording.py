"""What a file says about a plane and what it does not: axes, traces, and recipes.

The format readers deliver a `Recording`, of which `plane` makes a plane.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

MODES = ("states", "states-tppi", "echo-antiecho", "phase-modulated", "tppi", "qseq")
PROCESSED = "processed"
WINDOWS = ("cosine", "bell")


class UnusableData(ValueError):  # noqa: N818
    """A file that does not give a plane; the message says why and what to do."""


@dataclass(frozen=True)
class Axis:
    """Scale of one dimension.

    Attributes:
        nucleus: label such as "15N".
        width: Hz, spectral width (1 where unknown: frequencies are cycles per point).
        frequency: Hz, Larmor frequency, positive (NaN where unknown: so is the ppm axis).
        centre_ppm: ppm, shift at the centre of the spectrum.
    """

    nucleus: str = "?"
    width: float = 1.0
    frequency: float = float("nan")
    centre_ppm: float = 0.0

    def hertz(self, num_points: int) -> Float[np.ndarray, " points"]:
        """Give the frequency of every point of a spectrum, Hz from its centre, increasing."""
        return np.fft.fftshift(np.fft.fftfreq(num_points, 1 / self.width))

    def ppm(self, num_points: int) -> Float[np.ndarray, " points"]:
        """Give the chemical shift of every point, ppm, increasing (draw it decreasing)."""
        return self.centre_ppm + 1e6 * self.hertz(num_points) / self.frequency


@dataclass(frozen=True)
class Recording:
    """One trace per row as a format reader delivers it; the quadrature parts alternate.

    Attributes:
        traces: of t2, or t1 FIDs (rows, points) where the mode is PROCESSED.
        mode: one of MODES, PROCESSED, or what the file says instead.
        direct, indirect: axes.
        delay: t2 points before the signal starts (digital filter).
        announced: traces that the file's parameters announce; 0 where they do not.
        fault: why the parameters say that t1 is not uniform or not a time; "" where they do not.
        is_echo: phase-modulated signals are exp(-2 pi i f1 t1), by the kind of experiment.
        phases: rad, (zero, first order) of F2 and of F1, as the spectrometer's software had them.
        phases_in: where they stand.
        notes: what somebody must know who uses the plane.
    """

    traces: Shaped[np.ndarray, "..."]
    mode: str
    direct: Axis
    indirect: Axis
    delay: float = 0.0
    announced: int = 0
    fault: str = ""
    is_echo: bool = False
    phases: tuple[tuple[float, float], tuple[float, float]] | None = None
    phases_in: str = "pdata/1"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """What a file does not say about its own processing.

    Attributes:
        phase: rad, zero-order phase (direct, indirect); None leaves the plane unphased.
        mode: one of MODES; None takes it from the file.
        direct, indirect: axes; None takes them from the file.
        num_direct: t2 points that are used; None takes all.
        cosine_power: the windows are cos(pi k / 2n)^power, (direct, indirect).
        t2_window: cosine, or bell, a squared sine bell: of planes whose magnitudes are compared it
            takes the dispersive tails of tall peaks away, that lie over low ones.
        reverse_direct: the file's t2 FIDs are exp(-2 pi i f t).
        reverse_indirect: exchange P and N, for a spectrum that comes out upside down.
    """

    phase: tuple[float, float] | None = None
    mode: str | None = None
    direct: Axis | None = None
    indirect: Axis | None = None
    num_direct: int | None = None
    cosine_power: tuple[int, int] = (1, 1)
    t2_window: str = "cosine"
    reverse_direct: bool = False
    reverse_indirect: bool = False

    def __post_init__(self) -> None:
        if self.mode is not None and self.mode not in MODES:
            raise ValueError(f"mode={self.mode!r}; allowed: {', '.join(MODES)}")
        if self.t2_window not in WINDOWS:
            raise ValueError(f"t2_window={self.t2_window!r}; allowed: {', '.join(WINDOWS)}")


_UBIQUITIN = Recipe(
    phase=(0.7, np.pi / 2),
    direct=Axis("1H", 4000.0, 499.83e6, 3753 / 499.83),
    indirect=Axis("15N", 2000.0, 50.667e6, 5870 / 50.667),
    reverse_direct=True,
)
# Keyed by file stem. Ubiquitin: offsets and phase of the data's own processing script; the sign of
# both axes from assigned amides (I13 9.53/127.7, I36 6.14/120.4, G47 8.10/102.6 ppm). 15N13C:
# phases of the processing script beside the file; its ppm axes are not referenced.
RECIPES = {
    "ubiquitin_15N_hsqc": _UBIQUITIN,
    "hsqc_ubiquitin_expt": _UBIQUITIN,
    "15N13C_2d_time_complex": Recipe(
        phase=(np.deg2rad(-36.0), np.deg2rad(-7.0)), num_direct=512, cosine_power=(2, 2)
    ),
}


def recipe_of(
    path: Path,
    *,
    mode: str | None = None,
    reverse_indirect: bool | None = None,
    t2_window: str | None = None,
) -> Recipe:
    """The recipe of a file's name; what somebody says about it takes over, None: nothing."""
    recipe = RECIPES.get(path.stem, Recipe())
    if mode is not None:
        recipe = replace(recipe, mode=mode)
    if reverse_indirect is not None:
        recipe = replace(recipe, reverse_indirect=reverse_indirect)
    if t2_window is not None:
        recipe = replace(recipe, t2_window=t2_window)
    return recipe


def measured_axis(nucleus: str, width: float, frequency: float, centre_ppm: float) -> Axis:
    """Make an axis of numbers out of a file (Hz, Hz, ppm); refuses a width that is not positive."""
    if not width > 0:
        raise UnusableData(f"spectral width {width} Hz of {nucleus}; give an axis in the recipe")
    return Axis(str(nucleus), float(width), float(frequency), float(centre_ppm))
