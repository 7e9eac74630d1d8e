"""Complex images, such as those of undersampled k-space of several coils."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.ndimage import uniform_filter

from ipads_stream.baselines import Method
from ipads_stream.core.quantity import Quantity
from ipads_stream.data.nifti import stem_of_results, write_nifti
from ipads_stream.data.raw import read_kspace
from ipads_stream.evaluation.comparison import Comparison
from ipads_stream.evaluation.tasks import Metric, Settings, sample_means
from ipads_stream.evaluation.tasks.pictures import draw_images
from ipads_stream.evaluation.tasks.sample_means import SampleMeans, results_stem, sidecar
from ipads_stream.report.page import Section
from ipads_stream.systems import System

IMAGE = "image"
METRICS = (Metric("nrmse", "NRMSE"), Metric("ssim", "SSIM", "", "high"),
           Metric("psnr", "PSNR", "dB", "high"))  # fmt: skip
WINDOW, K1, K2 = 7, 0.01, 0.03  # of SSIM


@dataclass(frozen=True, kw_only=True)
class Images(SampleMeans):
    """The target ``image`` (B, X, Y[, Z]), complex or real; ``mask``: where it counts."""

    name: ClassVar[str] = "images"
    metric: ClassVar[Metric] = METRICS[0]
    definitions: ClassVar[Mapping[str, str]] = {
        "NRMSE": "‖estimate − truth‖ / ‖truth‖ of the complex image, inside the mask where there "
        "is one; the mean over images.",
        "SSIM": "Structural similarity of the magnitudes: mean over all windows of 7 x 7 points "
        "that lie inside the image (of a volume: over its slices), of equal weight, K1 = 0.01, "
        "K2 = 0.03, the range of the data the largest magnitude of the truth (Wang et al. 2004).",
        "PSNR": "20 log10 of the largest magnitude of the truth over the root mean square of the "
        "magnitudes' difference, inside the mask.",
        **sample_means.SHARED_DEFINITIONS,
    }

    def targets(self, system: System) -> Mapping[str, Quantity]:
        return {IMAGE: Quantity(low=0.0, high=1.0)}  # of no unit

    def metrics(self, comparison: Comparison, target: str) -> Sequence[Metric]:
        return METRICS

    def score(
        self, comparison: Comparison, target: str, row: int, estimate: Any
    ) -> Sequence[float]:
        truth, inside = comparison.truths[target][row], sample_means.where(comparison, target, row)
        x, y = np.abs(estimate), np.abs(truth)
        return nrmse(estimate, truth, inside), ssim(x, y), psnr(x, y, inside)

    def draw(
        self, system: System, comparison: Comparison, target: str, sample: int, path: Path
    ) -> str:
        estimates = sample_means.estimates_of(comparison, target, sample)
        draw_images(path, estimates, comparison.truths[target][sample])
        return "magnitudes on one scale, magnitudes of the complex errors on another, and phases"

    def measured(
        self, methods: Mapping[str, Method], system: System, settings: Settings, output: Path
    ) -> list[Section]:
        """Images of measured k-space, ``.npy`` or ``.cfl``, coils first: (C, X, Y).

        The system's ``measured`` is given the coils last, (X, Y, C). Of every method a magnitude
        and a phase (rad) are written as NIfTI, named as BIDS does, and a picture of all.
        """
        path = Path(settings.data)
        kspace = np.moveaxis(read_kspace(path), 0, -1)
        lines, images = [], {}
        for name, predictions in self.predictions(methods, system, settings.data, kspace).items():
            (image,) = predictions[IMAGE]
            images[name] = image
            for part, values in (("mag", np.abs(image)), ("phase", np.angle(image))):
                file = output / f"{results_stem(path, name)}_part-{part}.nii.gz"
                unit = "rad" if part == "phase" else ""
                write_nifti(file, values, sidecar=sidecar(name, unit, [path]))
                lines.append(f"{file}: {part} of {' x '.join(map(str, image.shape))} points")
        picture = output / f"{stem_of_results(path)}.png"
        draw_images(picture, images)
        caption = f"Images of {path.name}: magnitudes on one scale, and phases."
        return [Section(title=path.name, paragraphs=lines, pictures=[(picture, caption)])]


def nrmse(
    estimate: Num[np.ndarray, "X Y ..."],
    truth: Num[np.ndarray, "X Y ..."],
    inside: Bool[np.ndarray, "X Y ..."],
) -> float:
    """|e - t| / |t| inside a mask, of any unit; NaN where the truth is 0."""
    size = np.linalg.norm(truth[inside])
    return float(np.linalg.norm((estimate - truth)[inside]) / size) if size > 0 else float("nan")


def psnr(
    estimate: Float[np.ndarray, "X Y ..."],
    truth: Float[np.ndarray, "X Y ..."],
    inside: Bool[np.ndarray, "X Y ..."],
) -> float:
    """20 log10(max t / root mean square of e - t), dB, inside a mask; NaN where either is 0."""
    if not inside.any():
        return float("nan")
    error = np.sqrt(np.mean((estimate - truth)[inside].astype(float) ** 2))
    largest = float(truth[inside].max())
    return float(20 * np.log10(largest / error)) if error > 0 and largest > 0 else float("nan")


def ssim(estimate: Float[np.ndarray, "X Y ..."], truth: Float[np.ndarray, "X Y ..."]) -> float:
    """Mean structural similarity of magnitudes over windows of ``WINDOW`` x ``WINDOW`` points.

    (2 m_x m_y + c1) (2 v_xy + c2) / ((m_x^2 + m_y^2 + c1) (v_x + v_y + c2)), m means and v
    covariances (over n - 1) in a window, c = (K max t)^2. NaN where the truth is 0.

    Args:
        estimate, truth: magnitudes, of any unit; of a volume every slice along the last axis.

    Raises:
        ValueError: an image smaller than the window.

    Source: Wang et al., IEEE Transactions on Image Processing 13:600 (2004); windows of equal
    weight as fastMRI takes them, arXiv 1811.08839.
    """
    if min(truth.shape[:2]) < WINDOW:
        raise ValueError(f"images of {truth.shape}: at least {WINDOW} x {WINDOW} points are needed")
    x, y = estimate.astype(float), truth.astype(float)
    reach = y.max()
    if not reach > 0:
        return float("nan")

    def local(values: np.ndarray) -> np.ndarray:
        edge = WINDOW // 2
        means = uniform_filter(values, size=(WINDOW, WINDOW) + (1,) * (values.ndim - 2))
        return means[edge:-edge, edge:-edge]

    mx, my = local(x), local(y)
    sample = WINDOW**2 / (WINDOW**2 - 1)
    pairs = ((x, x), (y, y), (x, y))
    vx, vy, vxy = (sample * (local(a * b) - local(a) * local(b)) for a, b in pairs)
    c1, c2 = (K1 * reach) ** 2, (K2 * reach) ** 2
    similar = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(similar.mean())
