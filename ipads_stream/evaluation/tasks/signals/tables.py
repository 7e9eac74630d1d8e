"""The tables of undersampled signals, and what their words mean."""

from ipads_stream.evaluation.tasks.signals.pictures import LINES, REFINED, SPARSE
from ipads_stream.report.page import Column

RATE = Column("sampled (%)", "rate", "g", 100.0)
METHOD = Column("method", "method")
TIME = Column("time per signal (ms)", "seconds_per_signal", ".2f", 1e3)
SYNTHETIC_COLUMNS = (
    RATE,
    METHOD,
    Column("signals", "signals"),
    Column("median RLNE [95 %]", "rlne_median", ".3f", 1.0, ("rlne_low", "rlne_high"), "low"),
    Column("peak r [95 %]", "r", ".4f", 1.0, ("r_low", "r_high"), "high"),
    Column("peak r²", "r2", ".4f", best="high"),
    Column("peaks", "peaks"),
    TIME,
)
MEASURED_COLUMNS = (
    Column("rows", "region"),
    RATE,
    METHOD,
    Column("schedules", "schedules"),
    Column("RLNE, mean ± SD", "rlne", ".3f", 1.0, ("rlne_sd",), "low"),
    Column("peak r, mean ± SD", "r", ".4f", 1.0, ("r_sd",), "high"),
    Column("peak r²", "r2", ".4f", best="high"),
    Column("absorptive r", "r_absorptive", ".4f", 1.0, ("r_absorptive_sd",), "high"),
    Column("peaks", "peaks"),
    TIME,
)
HEIGHT_COLUMNS = (
    RATE,
    Column("height, of the tallest", "height"),
    METHOD,
    Column("schedules", "schedules"),
    Column("peaks", "peaks"),
    Column("lost (%)", "lost", ".0f", 100.0),
    Column("raised (%)", "raised", ".0f", 100.0),
    Column("median height left", "kept", ".2f"),
)
PAIR_COLUMNS = (
    Column("rows", "region"),
    RATE,
    Column("schedules", "schedules"),
    Column("network has the lower RLNE in", "rlne_better"),
    Column("the higher peak r in", "r_better"),
    Column("RLNE, network − IST", "rlne_difference", "+.4f", 1.0, ("rlne_difference_sd",)),
)
DEFINITIONS = {
    "network": "The trained network; sampled points are kept as they were measured.",
    REFINED: "The network, and a low-rank solver that starts from its estimate: what is not a sum "
    "of few exponentials is taken back, as far as the sampled points support it. Its time includes "
    "the network's.",
    LINES: "The network, the low-rank solver, and a fit of damped exponentials that starts there "
    "(`solver=lines`): many times slower, and made for low peaks beside tall ones.",
    SPARSE: "Sparse Bayesian learning without the network (`solver=sparse`): a fine grid of lines, "
    "whose powers neighbouring rows and, of one nucleus, mirror images tell one another.",
    "zero-filling": "Points that were not sampled are zero: what every other method starts from.",
    "IST": "Iterative soft thresholding: the missing points are those that make the spectrum "
    "sparse (Stern, Donoho, Hoch 2007).",
    "LRHM": "Low-rank Hankel matrix: the missing points are those that make the signal a sum of "
    "few exponentials (Qu et al. 2015).",
    "RLNE": "Relative l2-norm error ‖estimate − reference‖ / ‖reference‖ of the complex spectrum. "
    "Synthetic: per noise-free signal. Measured: over all rows of the plane, or those "
    "named, against the fully sampled spectrum, whose noise counts as signal.",
    "peak r, r²": "Pearson's correlation of peak intensities in estimate and reference, at the "
    "reference's maxima above 3 % of the tallest, or the share named; intensities are magnitudes. "
    "Synthetic: the peaks of all signals pooled. Absorptive r: the same of the real parts, where "
    "the plane is phased.",
    "height, lost, raised": "Peaks of the full plane by height, in the last rows named: those "
    "that stand above the noise and the ridges of their row and column and, where both axes are of "
    "one nucleus, off the diagonal. Of a lost one less than half of the height is left; a raised "
    "one has half as much again, as where artefacts cover it.",
    "[95 %]": "Percentile bootstrap interval over signals.",
    "± SD": "Standard deviation over sampling schedules, all of the same plane: it shows how much "
    "the schedule matters, not how another sample would come out.",
    "sampled": "Share of the points that are kept, by Poisson-gap schedules on the plane, by the "
    "system's own schedules in the synthetic test; the first point is always kept.",
    "time": "Wall time per signal (row) in this evaluation, batched as each method allows.",
    "*": "Best value of its column at that sampling rate, as rounded; methods that were given "
    "fewer signals are not compared.",
}
