"""The exact law of a parameter: probabilities of values and intervals, and its picture."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ipads_stream.core.units import factor, labelled, plain
from ipads_stream.distributions.given import Given
from ipads_stream.distributions.univariate import Distribution, Interval, Vector

DISTINCT = 40  # more values than these are drawn as a continuum
CERTAIN = 1.0 - 1e-9
CELLS = 240  # of a density
EXTREMES = 0.002, 0.998  # levels between which an endless distribution is drawn
BLUE = "#0072b2"


@dataclass(frozen=True)
class Law:
    """``F(x) = mean_k F(x | y_k)`` over values y_k of the parameters that it depends on.

    ``given`` holds the sample index and these values, (k, 1); without conditions k is 1.
    """

    distribution: Distribution
    given: Given

    @classmethod
    def at(cls, distribution: Distribution, progress: float, values: Mapping[str, Any]) -> "Law":
        """Of a distribution at a sample index, averaged over values of what it depends on."""
        columns = {name: np.asarray(column, dtype=np.float64)[:, None]
                   for name, column in values.items()}  # fmt: skip
        count = len(next(iter(columns.values()), np.zeros(1)))
        return cls(distribution.at(progress), Given(np.full((count, 1), progress), columns))

    @property
    def is_exact(self) -> bool:
        """Whether no draw of another parameter is in it."""
        return not self.given.values

    def up_to(self, x: Vector) -> Vector:
        """Probability of a draw at or below x (SI)."""
        return self.distribution.cdf(self._rows(x), self.given).mean(axis=0)

    def below(self, x: Vector) -> Vector:
        """Probability of a draw below x (SI)."""
        return self.distribution.cdf_below(self._rows(x), self.given).mean(axis=0)

    def _rows(self, x: Vector) -> Float[np.ndarray, "k n"]:
        return np.tile(x, (len(self.given.progress), 1))

    def values(self) -> Vector:
        """All values that are drawn, where they are few; none of a continuum."""
        if self.distribution.is_integer:
            low, high = self.distribution.support
            if not high - low < DISTINCT:
                return np.zeros(0)
            return np.arange(np.rint(low), np.rint(high) + 1)
        atoms = np.unique(np.concatenate([part.atoms for part in self.distribution.nested()]))
        if not 0 < atoms.size <= DISTINCT:
            return np.zeros(0)
        shares = self.shares(atoms)
        return atoms[shares > 0] if shares.sum() >= CERTAIN else np.zeros(0)

    def shares(self, values: Vector) -> Vector:
        """Probability of each value (SI)."""
        return self.up_to(values) - self.below(values)

    def between(self, edges: Vector) -> Float[np.ndarray, " bins"]:
        """Probability of each interval [edge, next edge), the last one closed (SI)."""
        levels = self.below(edges)
        levels[-1] = self.up_to(edges[-1:])[0]
        return np.diff(levels)

    def reach(self) -> Interval:
        """The support (SI) where it ends, else where nearly all draws are."""
        levels = np.tile(EXTREMES, (len(self.given.progress), 1))
        drawn = self.distribution.quantile(levels, self.given)
        low, high = self.distribution.support
        return (
            low if np.isfinite(low) else float(drawn.min()),
            high if np.isfinite(high) else float(drawn.max()),
        )


def law_picture(axis: Any, law: Law, unit: str) -> None:
    """Draws bars of the probabilities of single values, or a density."""
    values, size = law.values(), factor(unit)
    axis.set_xlabel(labelled("value", unit))
    if values.size:
        at = values / size
        gap = np.diff(at).min() if at.size > 1 else max(abs(at[0]), 1.0)
        axis.bar(at, 100 * law.shares(values), width=0.8 * gap, color=BLUE, alpha=0.6)
        axis.set_ylabel("probability (%)")
        if at.size <= 12:
            axis.set_xticks(at, [plain(value) for value in at])
        return
    low, high = law.reach()
    is_logarithmic = law.distribution.is_logarithmic and low > 0
    edges = (np.geomspace if is_logarithmic else np.linspace)(low, high, CELLS + 1)
    widths = np.diff(np.log10(edges) if is_logarithmic else edges / size)
    density = law.between(edges) / widths
    axis.stairs(density, edges / size, fill=True, color=BLUE, alpha=0.5)
    axis.set_ylim(0, 1.15 * float(np.quantile(density, 0.99)) or None)
    if is_logarithmic:
        axis.set_xscale("log")
        axis.set_ylabel("density per decade")
    else:
        axis.set_ylabel("density" if unit in ("", "1") else f"density (1/{unit})")


def law_image(distribution: Distribution) -> str:
    """The picture of a distribution that depends on no other parameter, as markup."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 1.8), layout="constrained")
    law_picture(figure.subplots(), Law.at(distribution, 0.0, {}), distribution.unit)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=90)
    content = base64.b64encode(image.getvalue()).decode("ascii")
    return f'<br><img alt="law" src="data:image/png;base64,{content}"><br>'
