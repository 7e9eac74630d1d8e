"""The loop that iterative methods share: how often it runs, what it keeps, when it ends."""

import io

from tqdm import tqdm

from ipads_stream.baselines.passes import Passes


def test_passes_are_counted_recorded_and_shown():
    with tqdm(total=12, file=io.StringIO()) as bar:
        for number in (passes := Passes(4, bar, share=3)):
            passes.record(changes=number**2)
        assert bar.n == 12
    assert passes.history == {"changes": [0, 1, 4, 9]}


def test_no_pass_follows_the_one_that_is_done():
    x = 1.0
    for _ in (passes := Passes(50)):
        before, x = x, 0.5 * (x + 2 / x)
        passes.record(change=abs(x - before))
        passes.is_done = abs(x - before) < 1e-12
    assert 3 < len(passes.history["change"]) < 10
    assert abs(x**2 - 2) < 1e-12
    assert not list(Passes(0))
