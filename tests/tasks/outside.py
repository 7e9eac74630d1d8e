"""The example packages and comparisons of given arrays, for the tests of tasks."""

from pathlib import Path

from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.comparison import Comparison

EXAMPLES = Path(__file__).parents[2] / "examples"
FEW = {  # what makes a training take a second
    "t2_mapping": ["stream.batch_size=256", "trainer.max_steps=60"],
    "parallel_imaging": [
        "stream.batch_size=2", "trainer.max_steps=4", "system.matrix=48", "system.calibration=12",
        "net.iterations=2", "net.features=8",
    ],
    "displacement": [
        "stream.batch_size=2", "trainer.max_steps=4", "system.matrix=32", "net.features=4",
    ],
}  # fmt: skip


def comparison(truths, estimates, mask=None, *, inputs=None, quantities=None):
    """A comparison of given arrays."""
    sample = Sample(inputs=inputs or {}, targets=truths, params={})
    return Comparison(
        quantities=quantities or dict.fromkeys(truths, Quantity(low=0.0, high=1.0)),
        truths=truths,
        estimates=estimates,
        seconds=dict.fromkeys(estimates, 1e-3),
        mask=mask,
        bounds={},
        sample=sample,
    )
