"""The pages of experiments/results: what every row and study gave, as Markdown."""

from __future__ import annotations

import importlib
from typing import Any

import design_table
import diagnosis_tables
import kernel_tables
import method_tables
import posterior_tables
import rate_tables
import resuming_page
import signal_tables
import study_tables
import yaml
import zoo_table
from result_files import ROOT, load, table

NOTE = "<!-- Written by experiments/readme_tables.py from the JSON files beside it. -->"
STUDIES = {
    "fig4": (
        "Intensities that training did not have",
        "Figure 4 of the review. Trained at 25 % on uniform amplitudes (I), or on what the arm "
        "says; tested on I and on many low and few tall peaks (II), noise-free and at a "
        "signal-to-noise ratio of 50. More low peaks in training lower their error on II and cost "
        "tall peaks on I; a low-rank network, or a low-rank step after the network, helps far "
        "more; a fit of lines that starts from the network helps most.",
        {"low": "Median error of peaks below 0.2, relative to their height",
         "rlne": "Median RLNE", "high": "Median error of the other peaks"},
    ),
    "fig7": (
        "Sampling rates that training did not have",
        "Figure 7 of the review. Trained at 25 % alone, or on 10 to 50 %. Thresholds of the "
        "hypernetwork fall with the rate and rise with the phase. Rates in the stream help where "
        "they are; meta-learning does not beat joint training at equal steps; steps of the size "
        "that it learned with break other networks.",
        {"rlne": "Median RLNE"},
    ),
    "transfer": (
        "Few samples of the real distribution",
        "The stream's network, and random weights, fine-tuned on signals that decay faster, are "
        "noisier (15) and sampled less (15 %). Ten of them after the stream are worth a hundred "
        "from random weights; what the network could do before is lost unless half of every batch "
        "stays synthetic.",
        {"rlne": "Median RLNE"},
    ),
}  # fmt: skip


def pages() -> dict[str, str]:
    """All pages by the name of their file, those of what has not been run left out."""
    made = {
        "dlnmr": dlnmr(),
        "cosy": signal_tables.cosy(),
        "baselines": method_tables.baselines(),
        "cleaner": method_tables.cleaner(),
        "designs": design_table.designs(),
        "diagnoses": diagnosis_tables.diagnoses(),
        "posteriors": posterior_tables.posteriors(),
        "stored_sets": stored_sets(),
        "generation": generation(),
        "kernels": kernel_tables.kernels(),
        "scaling": scaling(),
        "resuming": resuming_page.page(),
        "zoo": zoo_table.zoo(),
    }
    made |= {name: study(name) for name in STUDIES if load(name)}
    made |= {name: quantities(name, result) for name, result in quantity_results().items()}
    made = {"README": overview(list(made)), **made}
    return {f"{name}.md": f"{NOTE}\n{text.strip()}\n" for name, text in made.items()}


def quantity_results() -> dict[str, dict[str, Any]]:
    """Results of the systems of quantities whose small budget has been run, by name."""
    files = sorted((ROOT / "experiments" / "systems").glob("[a-z]*.py"))
    results = {path.stem: load(f"{path.stem}-small") for path in files}
    return {name: result for name, result in results.items() if result}


def overview(names: list[str]) -> str:
    """What was measured, how, what it says, and where the tables are."""
    links = "\n".join(f"- [{_title(name)}]({name}.md)" for name in names)
    return f"""# Results

Two processor cores, no GPU; every arm is listed, losing ones too. The numbers are in the JSON files
of this folder; `experiments/reproduce.py` makes them, `experiments/readme_tables.py` writes these
pages from them, and `experiments/targets.yaml` holds what the literature reports.

{links}

## Published figures of the quantitative systems

{headlines()}

Network, classical methods and, where there is one, the Cramer-Rao bound were compared on the same
simulated samples, at the small budget: minutes of training on two cores. Intervals are of 95 %:
over trainings (Student) for networks, over samples (bootstrap) for methods that are not trained.
Slow methods saw the first of the samples; ratios are of the same samples. The bound is that of
unbiased estimates: what lies below it leans on the range that was drawn from. Times were taken
beside other work and vary by a factor of a few.

    python experiments/reproduce.py system=NAME budget=small     # budget=full is for a GPU

## What they say

Over the range they were trained for, networks of fingerprints, decays and z-spectra come within
10 % of the posterior mean, which nothing can beat, in a small part of the time of a fit; outside of
it they fall behind (DRONE at a signal-to-noise ratio of 10 or 300).

Susceptibility needs the dipole in the network: closed-form steps that start from total variation
are level with it or ahead at every scale, with slopes near 1, while a U-Net alone loses to it and
underestimates, strong sources most; dividing by the field's size keeps its slope where all sources
grow alike, widened training hardly helps in this budget. The dipole network is homogeneous, so
widening changes nothing there; an activation that saturates costs it accuracy at ten times the
scale.

Textures in training help OLED no more than shapes do; random B1 costs accuracy where B1 is nominal
and saves much where it is not. Four wavelet decoders are no better than one direct decoder; both
know the total of iron better than the fit, whose maps are better below 3 mM.
"""


def _title(name: str) -> str:
    titles = {"dlnmr": "`dlnmr`: undersampled signals, simulated and measured",
              "cosy": "Low cross peaks beside a tall diagonal",
              "baselines": "Classical methods beside public implementations",
              "cleaner": "Data cleaner than the training's",
              "designs": "Does a better bound make a better network?",
              "diagnoses": "What explains that data are not what was simulated",
              "posteriors": "Posteriors of relaxation times beside exact ones",
              "stored_sets": "Does an endless stream beat a stored set?",
              "generation": "Rates of generation, simulation and training",
              "kernels": "What the compiler makes of the CUDA texts",
              "scaling": "Rates and sizes, for training on many GPUs",
              "resuming": resuming_page.TITLE,
              "zoo": "Networks that are part of the package"}  # fmt: skip
    targets = yaml.safe_load((ROOT / "experiments" / "targets.yaml").read_text())
    if name in titles:
        return titles[name]
    return STUDIES[name][0] if name in STUDIES else f"`{name}`: {targets[name]['what']}"


def headlines() -> str:
    """Published figures beside those of this package; ``headline(result)`` of a system's file."""
    targets = yaml.safe_load((ROOT / "experiments" / "targets.yaml").read_text())
    rows = []
    for name, result in quantity_results().items():
        target, module = targets[name], importlib.import_module(f"systems.{name}")
        published = f"{target['literature']} ({target['where']})"
        rows.append([f"[`{name}`]({name}.md)", target["what"], published, module.headline(result)])
    return table(["system", "what", "published", "here"], rows)


OLDER = {  # system -> what was changed since its rows were made
    "drone": "SNR 300 lies beyond the training (20 to 125): since these rows were made, such data "
    "are given noise up to that of the cleanest training data, so that the network's row no longer "
    "holds.",
    "ann_mwf": "Regularised NNLS has been run anew since, on the same voxels, with T2 of spin "
    'echoes from the shortest of myelin (`untrained="regularised NNLS"`); the figure '
    "shows it as it was.",
}


# Their comparisons pair every sample with those of networks that are not kept.
OLDER_IST = (
    "IST made 300 passes here; with the 120 that it makes now its error is 4 to 8 % lower on the "
    "simulated signals of [`dlnmr`](dlnmr.md)."
)


def quantities(name: str, result: dict[str, Any]) -> str:
    """A system of quantities; ``table(result)`` of its file."""
    tables = importlib.import_module(f"systems.{name}").table(result).strip()
    older = f"\n{OLDER[name]}\n" if name in OLDER else ""
    return f"""# `{name}`

`python experiments/reproduce.py system={name} budget=small`; how to read it: [Results](README.md).

![Maps, errors and scatter of {name}]({name}.png)

{tables}
{older}"""


def dlnmr() -> str:
    """Undersampled signals, simulated and measured."""
    seconds = load("speed-demo")["seconds_per_plane"]
    return f"""# `dlnmr`

`python experiments/reproduce.py row=nmr1` (`nmr2`, `speed`).

![A measured protein spectrum, undersampled and reconstructed](demo.png)

## Synthetic signals

128 points, Poisson-gap, noise-free; 400 test signals; median relative error RLNE. The low-rank
method is exact where enough points are sampled, and 80 times slower; below 25 % the network is
ahead. A low-rank solver that starts from the network's estimate is ahead of both.

{signal_tables.synthetic()}

## Measured spectra

Retrospectively undersampled (RLNE / r of peak magnitudes / r of absorptive peak intensities; 10
schedules, LRHM at 25 % only and 2; network: mean of 3 trainings). `all` includes the water ridge of
ubiquitin, which no method can predict, and the noise of the second spectrum, where at 3 % of the
maximum most peaks are noise.

{signal_tables.measured()}

Without the window along t1, over all rows of ubiquitin at 25 %: IST
{signal_tables.without_window("IST")}, network {signal_tables.without_window("network")}.

A plane of 512 x 128 points takes {seconds["network"]:.2f} s with the network,
{seconds["IST"]:.2f} s with soft thresholding (300 passes; it makes 120 now) and
{seconds["LRHM"]:.0f} s with the low-rank method, one thread each.
"""


def stored_sets() -> str:
    """Stored sets against the stream."""
    return f"""# Does an endless stream beat a stored set?

`python experiments/reproduce.py row=fixed`. The same network (six phases) and number of steps
(3,000 of 16: 48 passes over 1,000 pairs, 1.2 over 40,000), stored pairs used again and again, with
the masks and noise that were stored or with fresh ones; median RLNE, mean ± SD of 3 seeds; the last
column is paired by seed with its 95 % bootstrap interval over them.

{signal_tables.fixed()}

Almost all of the gain comes from fresh masks and noise: with them a thousand stored pairs come
close to the endless stream, and forty thousand equal it, even frozen, at this number of steps.
"""


def study(name: str) -> str:
    """A study of the shift laboratory."""
    title, what, metrics = STUDIES[name]
    result = load(name)
    parts = [f"# {title}", f"`ipads-stream shift shift={name}`. {what}",
             "Means over 5 seeds at equal steps and common random numbers; in brackets the change "
             "against the first trained arm, n.s. where it is not significant (paired t over the "
             "seeds, adjusted by Holm's method, and a bootstrap over seeds and signals). Losing "
             "arms are listed; – was not run or is no number."]  # fmt: skip
    for metric, heading in metrics.items():
        parts.append(f"{heading}:\n\n{study_tables.matrix(result, metric)}")
    if name == "fig7":  # elsewhere the rate is the same for all tests
        parts.append(f"Learned thresholds change by\n\n{study_tables.trends(result)}")
    parts.append(study_tables.budget(result))
    if name == "fig4":
        parts.append(_efficient())
    parts.append(OLDER_IST)
    return "\n\n".join(parts)


def _efficient() -> str:
    """What the noise alone leaves, beside the noisy tests."""
    tests = "; ".join(
        f"{test}: {values['low']:.3f} and {values['rlne']:.3f}"
        for test, values in load("fig4-efficient").items()
    )
    return (
        "For comparison, an efficient unbiased estimator that knows how many lines there are "
        f"(error of low peaks and RLNE; `experiments/efficient_lines.py`): {tests}."
    )


def generation() -> str:
    """Rates of generation, simulation and training."""
    return f"""# Rates

`python experiments/throughput.py`.

## Generation

{rate_tables.rates()}

## Simulation

float32 where nothing else is said. The ceiling is computed: a GPU's peak of multiply-adds
(67 TFLOP/s in float32, 34 in float64) over the operations of one; no GPU was at hand.

{rate_tables.simulators()}

## Drawing on the host

Processor time of one thread, beside other work. A system's numbers are its parameters and the
tables of its random shapes, in batches as it is trained with and in larger ones; the goal is 0.2 us
per number. A call for each parameter costs the same whatever the batch: small batches of few
numbers are above the goal by it. Below is each kind of draw, in batches of 512 (shapes and sources
of 16).

{rate_tables.draws()}

## Generation beside training

Training goes on while the next batch is made. With a thread that produces ahead on the second core
the trainer waits for about 1 % of its time; on one core generation takes the share in the table,
most where the network is small. `stream.repeat=2` uses every batch twice.

{rate_tables.generation()}
"""


def scaling() -> str:
    """Rates and sizes that scaling depends on."""
    return f"""# Rates and sizes, for training on many GPUs

`python experiments/scaling.py`; what they are for: the guide "From one GPU to 64".

Samples are made where they are trained on: none crosses the network. The rates are those of one
core of a CPU, measured beside other work (undisturbed it does [more](generation.md)), at the
recommended batch; no GPU was at hand. GB/s are what 64 processes of that rate would have to read
from a stored set instead. Gradients are what the all-reduce adds in each step; a checkpoint holds
weights, moments of the optimizer, configuration and the stream's state, a few numbers.

{rate_tables.scaling()}
"""
