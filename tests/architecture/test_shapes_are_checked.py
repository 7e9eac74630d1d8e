"""Where the tests check the shapes of arrays, an array of another shape is refused."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest

from ipads_stream.acquisition import masks
from ipads_stream.baselines import nnls
from ipads_stream.evaluation import statistics

ONE, TWO = np.ones(3), np.ones((3, 3))
CALLS = {
    "acquisition": lambda: masks.num_sampled(TWO, 8),
    "baselines": lambda: nnls.misfit(TWO, ONE, TWO),
    "evaluation": lambda: statistics.percentiles(TWO, 0.9),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_array_of_another_shape_is_refused(call):
    with pytest.raises(jaxtyping.TypeCheckError):
        call()
