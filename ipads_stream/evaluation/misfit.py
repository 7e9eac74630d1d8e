"""Whether measured data are what was simulated: how far they are from the signal of the estimate.

The squared distances of a voxel, over what the noise makes of them, have a chi-square distribution
where the model holds: a network's own standard deviation does not see that it does not. Over many
voxels one factor for all says that the noise was underestimated, an excess in some of them that
the signal is another there.

Source: Gelman, Meng, Stern, Statistica Sinica 6, 1996 (posterior predictive assessment).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import stats

from ipads_stream.core.sample import Arrays
from ipads_stream.systems.base import Likely

EDGE = 0.05  # share of a range at either end that counts as its edge
RARE = 0.01  # p below which a voxel is not what was simulated
EXCESS = 3.0  # times as many rare voxels as there would be, that are told of
FEW = 2  # degrees of freedom up to which the verdict says how little it sees
NOISE = 1.15  # ratio of the noise from which it is told of
AT_EDGE = 0.25  # share of the voxels at an edge from which it is told of


@dataclass(frozen=True)
class Misfit:
    """How voxels agree with the model.

    Attributes:
        chi2: sum of squared distances over their variance, (B,).
        freedom: images less estimated quantities; 0 where there are too few, (B,).
        p: probability of as large a chi2, NaN without freedom, (B,).
        is_at_edge: whether an estimate is within 5 % of the end of its range, (B,).
        is_noise_fitted: whether the noise is what the model leaves of the same images.
    """

    chi2: Float[np.ndarray, " B"]
    freedom: Float[np.ndarray, " B"]
    p: Float[np.ndarray, " B"]
    is_at_edge: np.ndarray
    is_noise_fitted: bool = False

    @property
    def noise_ratio(self) -> float:
        """The noise that explains the median of chi2 over the noise that was given; 1 of none."""
        known = self.freedom > 0
        if not known.any():
            return 1.0
        middle = stats.chi2.median(self.freedom[known])
        return float(np.sqrt(np.median(self.chi2[known] / middle)))

    def sentence(self) -> str:
        """The verdict on all voxels."""
        known, edge = self.freedom > 0, float(np.mean(self.is_at_edge)) if len(self.p) else 0.0
        parts = []
        if known.any():
            ratio = self.noise_ratio
            p = self.p[known]
            if ratio > NOISE:
                p = stats.chi2.sf(self.chi2[known] / ratio**2, self.freedom[known])
                parts.append(self._of_noise(ratio))
            share = float(np.mean(p < RARE))
            if share > EXCESS * RARE:
                text = f"the signal model does not hold in {100 * share:.3g} % of the voxels"
                parts.append(f"{text} (p < {RARE:g}, {100 * RARE:g} % by chance)")
        else:
            parts.append("too few images to judge the signal model")
        if edge > AT_EDGE:
            text = f"{100 * edge:.3g} % of the voxels lie at the edge of what was trained"
            parts.append(f"{text}, or outside of it")
        said = parts or ["the data are what was simulated, as far as they tell"]
        return "; ".join(said + self._worth())

    def _of_noise(self, ratio: float) -> str:
        if self.is_noise_fitted:  # by the best curves: more is left by the estimates, not the noise
            return f"the estimates leave {ratio:.2f} times what the best signals of the model leave"
        return f"the noise is {ratio:.2f} times what was taken"

    def _worth(self) -> list[str]:
        """What chi-square cannot see: a noise found by the fit, and what few images leave open."""
        said = []
        if self.is_noise_fitted:
            text = "the noise is what the model does not explain: neither an underestimated noise"
            said.append(f"{text} nor a misfit alike in all voxels is seen")
        known = self.freedom[self.freedom > 0]
        if len(known) and (freedom := np.median(known)) <= FEW:
            least = np.sqrt(stats.chi2.isf(RARE, freedom))
            degrees = "degree" if freedom == 1 else "degrees"
            text = f"{freedom:g} {degrees} of freedom a voxel: seen is only what the estimates do"
            said.append(f"{text} not absorb, from {least:.2g} times the noise")
        return said


def misfit(
    system: Likely, inputs: Arrays, estimates: Arrays, is_noise_fitted: bool = False
) -> Misfit:
    """The misfit of voxels, (B, ...), under the estimates of all quantities, SI, (B,) by name."""
    chi2, samples = system.chi_square(inputs, estimates)
    freedom = np.maximum(samples - len(estimates), 0).astype(float)
    p = np.where(freedom > 0, stats.chi2.sf(chi2, np.maximum(freedom, 1)), np.nan)
    scaled = [x.normalized(estimates[name]) for name, x in system.quantities.items()]
    is_at_edge = np.any(np.abs(scaled) > 1 - 2 * EDGE, axis=0)
    return Misfit(chi2, freedom, p, is_at_edge, is_noise_fitted)
