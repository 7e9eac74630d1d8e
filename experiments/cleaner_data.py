"""Whether a network errs more on data cleaner than all that it was trained on.

    python experiments/cleaner_data.py [system=NAME]

A short training of every system, seed 0, then the error of the same samples at falling noise: that
of the cleanest training data, fractions of it, and none. Where a system adds noise to cleaner data
(`limit_snr`), the errors without it stand beside. The networks are kept under runs/reproduce;
the errors are written to experiments/results/cleaner.json.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from result_files import RESULTS, ROOT, load
from training import trained

from ipads_stream import ConfigError, load_model
from ipads_stream.config import build_system
from ipads_stream.core.files import write_text
from ipads_stream.distributions import Constant
from ipads_stream.evaluation.familiar import expected
from ipads_stream.testing.noise import errors_of

SAMPLES = {"voxel": 4000, "slice": 16, "volume": 48}
VOLUMES = ("system.shape=[16,16,16]", "trainer.precision=bf16-mixed")
TRAINING = {
    "drone": ("trainer.max_steps=1200",),
    "ann_mwf": ("trainer.max_steps=1200",),
    "ann_mwf_cpmg": ("trainer.max_steps=1200",),
    "anncest": ("trainer.max_steps=1200",),
    "deepspio": ("trainer.max_steps=200", "net.widths=[8,16,16]", "net.decoder=8", *VOLUMES),
    "oled": ("trainer.max_steps=40", "net.widths=[8,16,32]"),
    "qsmnet": ("trainer.max_steps=100", "net.widths=[8,16]", *VOLUMES),
    "qsmnet_unrolled": ("trainer.max_steps=20", "net.width=8", *VOLUMES),
    "dlnmr": ("trainer.max_steps=100", "net.phases=3"),
    "modern": ("trainer.max_steps=100", "net.phases=3"),
    "dhmf": ("trainer.max_steps=40", "net.steps=[1,1]"),
}
NOISE = (1.0, 0.3, 0.1, 0.0)  # of the least of the training
SIGNALS = 200
NOTHING = 1e-7  # over the least, where noise is given as a signal-to-noise ratio


def with_noise(system: Any, share: float) -> Any:
    """The system with a share of the least noise of its training.

    Of one that is trained without noise, too, with a share of its most.
    """
    if hasattr(system, "noise"):
        low, high = system.noise.support
        return dataclasses.replace(system, noise=Constant(value=share * (low or high)))
    snr = system.snr.support[1] / max(share, NOTHING)
    return dataclasses.replace(system, snr=Constant(value=snr))


def measured(name: str) -> dict[str, Any]:
    """Errors of a system's network by share of noise, with and without its limit."""
    words = [f"system={name}", "seed=0", *TRAINING[name]]
    model = load_model(trained(ROOT / "runs" / "reproduce" / "cleaner" / name, words))
    system = build_system(model.config)
    samples = SAMPLES[system.kind] if hasattr(system, "kind") else SIGNALS

    def of_all() -> dict[str, list[float]]:
        tested = [with_noise(system, share) for share in NOISE]
        found = [errors_of(model, each, samples=samples, seed=0) for each in tested]
        return {target: [row[target] for row in found] for target in found[0]}

    with expected():
        result: dict[str, Any] = {
            "training": TRAINING[name],
            "samples": samples,
            "errors": of_all(),
        }
        if model.limit is not None:
            model.limit = None
            result["without"] = of_all()
    return result


def main(words: Sequence[str]) -> int:
    """Trains what is not there, measures and writes."""
    options = dict(word.partition("=")[::2] for word in words)
    asked = options.pop("system", None)
    if options or asked not in (None, *TRAINING):
        raise ConfigError("argument", " ".join(words), f"system=, one of {', '.join(TRAINING)}")
    result = load("cleaner") or {"noise": NOISE, "systems": {}}
    for name in TRAINING if asked is None else (asked,):
        result["systems"][name] = measured(name)
        print(name, json.dumps(result["systems"][name]), flush=True)
        write_text(RESULTS / "cleaner.json", json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
