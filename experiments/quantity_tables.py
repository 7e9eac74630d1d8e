"""The README's tables of the systems of quantities."""

from __future__ import annotations

import importlib
from typing import Any

import yaml
from result_files import ROOT, load, table


def headlines(results: dict[str, dict[str, Any]]) -> str:
    """Published figures of the systems of quantities beside ``headline(result)`` of their files.

    Args:
        results: of the systems, by name.
    """
    targets = yaml.safe_load((ROOT / "experiments" / "targets.yaml").read_text())
    rows = []
    for name, result in sorted(results.items()):
        of, module = targets[name], importlib.import_module(f"systems.{name}")
        published = f"{of['literature']} ({of['where']})"
        rows.append([f"`{name}`", of["what"], published, module.headline(result)])
    return table(["system", "what", "published", "here"], rows)


def generation() -> str:
    """What generation costs beside training, by system."""
    rows = []
    for name, of in load("throughput").get("systems", {}).items():
        echo = f" (echo {of['echo']})" if of["echo"] > 1 else ""
        rows.append([
            f"`{name}`",
            f"{of['samples_per_s_1_thread']:,.0f}",
            f"{of['draw_ms'] + of['render_ms']:.1f}",
            f"{of['forward_ms'] + of['backward_ms']:.1f}",
            f"{of['share_of_generation']:.0%}{echo}",
            f"{of['stall']:.1%}",
        ])  # fmt: skip
    head = ["system", "samples/s, one thread", "ms to generate a batch", "ms to train on it",
            "share of generation, one thread", "stall beside a producing thread"]  # fmt: skip
    return table(head, rows)


def quantitative() -> str:
    """The systems of quantities whose small budget has been run, each by its own file; or nothing.

    ``experiments/systems/<name>.py`` has ``table(result)``, markdown of its result.
    """
    files = (ROOT / "experiments" / "systems").glob("[a-z]*.py")
    results = {path.stem: load(f"{path.stem}-small") for path in files}
    results = {name: result for name, result in results.items() if result}
    if not results:
        return ""
    tables = [
        f"`{name}`\n\n![Maps, errors and scatter of {name}](experiments/results/{name}.png)\n\n"
        f"{importlib.import_module(f'systems.{name}').table(result).strip()}"
        for name, result in sorted(results.items())
    ]
    return f"""
**Quantitative systems**: network, classical methods and, where there is one, the Cramer-Rao bound
on the same simulated samples; small budget (minutes of training on two cores). Intervals are of
95 %: over trainings (Student), of methods that are not trained over samples (bootstrap). Slow
methods saw the first of the samples; ratios are of the same samples. The bound is that of unbiased
estimates: what lies below it leans on the range that was drawn from. Times were taken beside other
work and vary by a factor of a few.
`python experiments/reproduce.py system=NAME budget=small` makes them, `budget=full` is for a GPU.

{headlines(results)}

What they say: over the range they were trained for, networks of fingerprints, decays and z-spectra
come within 10 % of the posterior mean, which nothing can beat, in a small part of the time of a
fit; outside of it they fall behind (DRONE at a signal-to-noise ratio of 10 or 300). Susceptibility
needs the dipole in the network: closed-form steps that start from total variation are ahead of it
at every scale, with slopes near 1, while a U-Net alone loses to it and underestimates, strong
sources most; dividing by the field's size keeps its slope where all sources grow alike, widened
training hardly helps in this budget. The dipole network is homogeneous, so widening changes nothing
there; an activation that saturates costs it accuracy at ten times the scale. Textures in training
help OLED no more than shapes do; random B1 costs accuracy where B1 is nominal and saves much where
it is not. Four wavelet decoders are no better than one direct decoder; both know the total of iron
better than the fit, whose maps are better below 3 mM.

Training goes on while the next batch is made. With a thread that produces ahead on the second core
the trainer waits for about 1 % of its time; on one core generation takes the share in the table,
most where the network is small. `stream.echo=2` uses every batch twice.

{generation()}

{chr(10).join(f"{table}{chr(10)}" for table in tables)}"""
