"""Writes the results in README.md from the JSON files in experiments/results.

    python experiments/readme_tables.py

The text between the two marks is generated; a test compares it with the files.
"""

from __future__ import annotations

from typing import Any

import study_tables
from quantity_tables import quantitative
from result_files import ROOT, load, table

from ipads_stream.core.files import write_text

START, END = "<!-- results -->", "<!-- end of results -->"
PEERS = ("torchsim", "blochsim")
METHODS = ("zero-filling", "IST", "LRHM", "network", "network + low rank")


def synthetic() -> str:
    """Median RLNE per method and rate; the network as mean ± SD over training seeds."""
    found, long = load("nmr1-demo"), load("nmr1-long")
    rates = ("15%", "20%", "25%", "40%", "50%")
    rows = []
    for method in METHODS:
        cells = [found[f"{method} {rate}"]["rlne_median"] for rate in rates]
        of = f" (n = {cells[0]['seeds']})" if cells[0]["seeds"] > 1 else ""
        name = f"{method}{of}".replace("network", "network, 100 s")
        rows.append([name, *(_value(cell) for cell in cells)])
    if long:
        cells = [long[f"network {rate}"]["rlne_median"] for rate in rates]
        rows.append(["network, 10 min (n = 1)", *(_value(cell) for cell in cells)])
    return table(["median RLNE at", *rates], rows)


def _value(cell: dict[str, Any]) -> str:
    spread = "" if cell["sd"] is None else f" ± {cell['sd']:.3f}"
    return f"{cell['mean']:.3f}{spread}" if cell["mean"] >= 5e-4 else f"{cell['mean']:.0e}"


def measured() -> str:
    """RLNE and peak correlation on the measured planes."""
    found, long = load("nmr2-demo"), load("nmr2-long")
    regions = {
        "ubiquitin": ("all", "5.6 to 10.5 ppm"),
        "15N13C": ("all", "-5 to 25 ppm"),
    }
    rows = []
    for plane, names in regions.items():
        for region in names:
            for rate in ("15%", "20%", "25%", "50%"):
                row = [plane, region, rate]
                for source, method in (
                    (found, "IST"),
                    (found, "LRHM"),
                    (found, "network"),
                    (long, "network"),
                ):
                    cell = source.get(plane, {}).get(f"{region}: {method} {rate}")
                    row.append(
                        "–" if cell is None else f"{cell['rlne']['mean']:.3f} / "
                        f"{cell['r']['mean']:.4f} / {cell['r_absorptive']['mean']:.4f}"
                    )  # fmt: skip
                rows.append(row)
    head = ["plane", "rows", "sampled", "IST", "LRHM", "network, 100 s", "network, 10 min"]
    return table(head, rows)


def fixed() -> str:
    """Stored sets against the stream."""
    arms = load("fixed").get("arms", {})
    rows = []
    for name, by_rate in arms.items():
        ratio = by_rate["25%"]["over_stream"]
        around = "" if name == "stream" else f" [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        rows.append(
            [name, *(_value(by_rate[rate]) for rate in ("15%", "25%", "50%")),
             f"{ratio['mean']:.2f}{around}"]
        )  # fmt: skip
    head = ["training data", "15 %", "25 %", "50 %", "error over the stream's, 25 %"]
    return table(head, rows) if rows else ""


def rates() -> str:
    """What generation costs."""
    results = load("throughput")
    if not results:
        return ""
    found = results["stream"]
    kernel, ratios, pairs = (
        found["exponentials_4096x256x10"],
        found["ratios"],
        found["pairs"],
    )
    rows = [
        ["signals per second, 256 points x 10 peaks, 2 threads",
         f"{kernel['kernel_2_threads'] / 1e6:.1f} million"],
        ["  over NumPy's direct complex exponential, same run",
         f"{ratios['kernel_over_numpy_direct']:.0f} x"],
        ["  over torch's, 2 threads, same run", f"{ratios['kernel_over_torch_direct']:.0f} x"],
        ["  share of the measured multiply-add peak, 1 / 2 threads",
         f"{ratios['share_of_fma_peak_1_thread']:.0%} / "
         f"{ratios['share_of_fma_peak_2_threads']:.0%}"],
        ["  relative error against float64", f"{kernel['relative_error']:.0e}"],
        ["keyed random words of a signal's parameters, over the signal, 1 thread",
         f"{kernel['keyed_words_share_of_fid_1_thread']:.0%}"],
        ["40,000 training pairs (draws, signal, mask, noise, spectrum), 1 / 2 threads",
         f"{pairs['pairs_40000_s_1_thread']:.2f} / {pairs['pairs_40000_s_2_threads']:.2f} s"],
        ["hand-over of a ready batch", f"{found['stream']['hand_over_ready_batch_ms']:.3f} ms"],
        [f"growth of memory over {found['stream']['batches']:,} batches",
         f"{found['stream']['memory_growth_MB']:.1f} MB"],
    ]  # fmt: skip
    return table([f"on {results['processor']}", ""], rows)


def simulators() -> str:
    """Rates of the simulators beside those of others."""
    results = load("throughput")
    if "bloch" not in results:
        return ""
    spins, image, trains = results["bloch"], results["signal"], results["epg"]
    spectra, slopes = results["bloch_mcconnell"], results["bloch"]["gradients"]
    one, any_axis, peers = trains["one_axis"], trains["any_axis"], trains["peers"]
    graphs = trains["gradients"]["2000_atoms_200_TR_one_axis"]
    double = spectra["float64"]
    rows = [
        ["isochromats, 20,000 spins x 1,000 steps with RF",
         f"{spins['kernel_1_thread'] / 1e9:.2f}e9 steps/s",
         f"{spins['share_of_fma_peak_1_thread']:.0%}", f"{spins['gpu_ceiling']:.1e}",
         f"torch per step {spins['kernel_over_torch_steps']:.0f}, "
         f"blochsimulator {spins['kernel_over_blochsimulator_1_thread']:.0f}"],
        ["their gradients, 2,000 spins x 1,000 steps",
         f"{1e3 * slopes['adjoint_seconds']:.1f} ms", "", "",
         f"torch autograd {slopes['torch_over_adjoint_time']:.0f} "
         f"(and {slopes['torch_over_adjoint_memory']:.0f} of memory)"],
        ["EPI of 64 x 64 voxels, 9 isochromats each",
         f"{image['signals_per_second_1_thread_batch_8']:.0f} images/s",
         f"{image['one_signal']['share_of_floor_whole']:.0%}",
         f"{image['gpu_ceiling_spin_samples'] / image['spins'] / image['samples']:.1e}",
         f"readout: torch per sample {image['readout_over_naive']['torch']:.0f}"],
        ["phase graphs, 1,000 TR x 20 orders, one axis", f"{one['1_thread']:,.0f} trains/s",
         f"{one['share_of_fma_peak']:.0%}", f"{one['gpu_ceiling']:.1e}",
         ", ".join(f"{name} {peers[name]['ratio_one_axis']:.0f}" for name in PEERS)],
        ["  of any phase", f"{any_axis['1_thread']:,.0f} trains/s",
         f"{any_axis['share_of_fma_peak']:.0%}", f"{any_axis['gpu_ceiling']:.1e}",
         f"blochsim {peers['blochsim']['ratio_any_axis']:.0f}"],
        ["  their gradients, 2,000 x 200 TR", f"{graphs['atoms_per_second']:,.0f} trains/s", "", "",
         f"torch autograd {graphs['ratio']:.0f} "
         f"(and {graphs['ratio_of_bytes_grown']:.0f} of memory)"],
        ["z-spectra, 3 pools, 51 offsets, 20 pulses, float64",
         f"{double['1_thread']:,.0f} spectra/s", f"{double['share_of_float64_fma_peak']:.0%}",
         f"{double['gpu_ceiling']:.1e}",
         f"SciPy {spectra['ratio_to_scipy']:.0f}, BMCTool {spectra['ratio_to_bmctool']:,.0f}"],
    ]  # fmt: skip
    head = [
        "one thread",
        "rate",
        "of the multiply-add peak",
        "ceiling of a GPU",
        "times faster than",
    ]
    return table(head, rows)


STUDIES = {
    "fig4": (
        "**Intensities that training did not have** (article Fig. 4). Trained at 25 % on uniform "
        "amplitudes (I), or on what the arm says; tested on I and on many low and few tall peaks "
        "(II), noise-free and at a signal-to-noise ratio of 50. More low peaks in training lower "
        "their error on II and cost tall peaks on I; a low-rank network, or a low-rank step after "
        "the network, helps far more; a fit of lines that starts from the network helps most.",
        {"low": "Median error of peaks below 0.2, relative to their height",
         "rlne": "Median RLNE", "high": "Median error of the other peaks"},
    ),
    "fig7": (
        "**Sampling rates that training did not have** (article Fig. 7). Trained at 25 % alone, "
        "or on 10 to 50 %. Thresholds of the hypernetwork fall with the rate and rise with the "
        "phase. Rates in the stream help where they are; meta-learning does not beat joint "
        "training at equal steps; steps of the size that it learned with break other networks.",
        {"rlne": "Median RLNE"},
    ),
    "transfer": (
        "**Few samples of the real distribution.** The stream's network, and random weights, "
        "fine-tuned on signals that decay faster, are noisier (15) and sampled less (15 %). Ten of "
        "them after the stream are worth a hundred from random weights; what the network could do "
        "before is lost unless half of every batch stays synthetic.",
        {"rlne": "Median RLNE"},
    ),
}  # fmt: skip


def _efficient() -> str:
    """What the noise alone leaves, beside the noisy tests."""
    found = load("fig4-efficient")
    told = "; ".join(
        f"{test}: {values['low']:.3f} and {values['rlne']:.3f}" for test, values in found.items()
    )
    return (
        "For comparison, an efficient unbiased estimator that knows how many lines there are "
        f"(error of low peaks and RLNE; `experiments/efficient_lines.py`): {told}."
    )


def studies() -> str:
    """The shift studies that have been run; or nothing."""
    parts = []
    for name, (what, metrics) in STUDIES.items():
        result = load(name)
        if not result:
            continue
        parts.append(what)
        for metric, title in metrics.items():
            parts.append(f"{title}:\n\n{study_tables.matrix(result, metric)}")
        if name == "fig7":  # elsewhere the rate is the same for all tests
            parts.append(f"Learned thresholds change by\n\n{study_tables.trends(result)}")
        parts.append(study_tables.budget(result))
        if name == "fig4":
            parts.append(_efficient())
    if not parts:
        return ""
    about = (
        "**Shifted distributions.** Means over 5 seeds at equal steps and common random numbers; "
        "in brackets the change against the first trained arm, n.s. where it is not significant "
        "(paired t over the seeds, adjusted by Holm's method, and a bootstrap over seeds and "
        "signals). Losing arms are listed; – was not run or is no number."
    )
    return "\n\n".join([about, *parts]) + "\n\n"


def _bare(method: str) -> str:
    """Scores of the whole ubiquitin plane at 25 % without a window along t1."""
    cell = load("nmr2-demo")["ubiquitin, no t1 window"][f"all: {method} 25%"]
    scores = ("rlne", "r", "r_absorptive")
    return " / ".join(f"{cell[score]['mean']:.3f}" for score in scores)


def generated() -> str:
    """The whole section."""
    speed = load("speed-demo")
    seconds = speed["seconds_per_plane"]
    return f"""## Results

Two processor cores, no GPU; every arm is listed, losing ones too. `experiments/reproduce.py`
makes the numbers, `experiments/results/` keeps them, `experiments/targets.yaml` holds what the
literature reports.

**Synthetic signals** (128 points, Poisson-gap, noise-free; 400 test signals; median relative error
RLNE). The low-rank method is exact where enough points are sampled, and 80 times slower; below 25 %
the network is ahead. A low-rank solver that starts from the network's estimate is ahead of both.

{synthetic()}

**Measured spectra**, retrospectively undersampled (RLNE / r of peak magnitudes / r of absorptive
peak intensities; 10 schedules, LRHM at 25 % only and 2; network: mean of 3 trainings). `all`
includes the water ridge of ubiquitin, which no method can predict, and the noise of the second
spectrum, where at 3 % of the maximum most peaks are noise.

{measured()}

Without the window along t1, over all rows of ubiquitin at 25 %: IST {_bare("IST")}, network
{_bare("network")}.

A plane of 512 x 128 points takes {seconds["network"]:.2f} s with the network,
{seconds["IST"]:.2f} s with soft thresholding and {seconds["LRHM"]:.0f} s with the low-rank method,
one thread each.

**Does an endless stream beat a stored set?** The same network (six phases) and number of steps
(3,000 of 16: 48 passes over 1,000 pairs, 1.2 over 40,000), stored pairs used again and again, with
the masks and noise that were stored or with fresh ones; median RLNE, mean ± SD of 3 seeds; the last
column is paired by seed with its 95 % bootstrap interval over them.

{fixed()}

Almost all of the gain comes from fresh masks and noise: with them a thousand stored pairs come
close to the endless stream, and forty thousand equal it, even frozen, at this number of steps.

{studies()}**Generation.**

{rates()}

**Simulation**, float32 where nothing else is said. The ceiling is computed: a GPU's peak of
multiply-adds (67 TFLOP/s in float32, 34 in float64) over the operations of one; no GPU was at hand.

{simulators()}
{quantitative()}"""


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    before, after = text.partition(START)[0], text.partition(END)[2]
    write_text(readme, f"{before}{START}\n{generated()}{END}{after}")


if __name__ == "__main__":
    main()
