"""The error of quantities: on its scale, inside the mask, with gradients."""

import math

import numpy as np
import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.sample import Sample
from ipads_stream.losses.quantities import QuantityError, mean_inside

OUTPUTS = {
    "T2": {"low": 20, "high": 500, "unit": "ms", "scale": "log"},
    "MWF": {"low": 0, "high": 0.4},
}


def sample_of(targets):
    return Sample(inputs={}, targets=targets, params={})


def drawn(shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    T2 = 0.02 * 25 ** torch.rand(shape, generator=random, dtype=torch.double)
    return {"T2": T2, "MWF": 0.4 * torch.rand(shape, generator=random, dtype=torch.double)}


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
def test_a_term_is_the_power_of_the_normalised_error(norm, power):
    truth = drawn((4,))
    predictions = {"T2": truth["T2"] * 1.1, "MWF": truth["MWF"] - 0.05}
    terms = QuantityError(outputs=OUTPUTS, norm=norm, weights={"MWF": 3})(
        predictions, sample_of(truth)
    )
    T2 = (2 * math.log(1.1) / math.log(25)) ** power
    np.testing.assert_allclose(terms["T2"], np.full(4, T2), rtol=1e-9)
    np.testing.assert_allclose(terms["MWF"], np.full(4, 3 * (0.05 / 0.2) ** power), rtol=1e-9)


def test_maps_count_inside_the_mask_alone():
    truth = drawn((2, 5, 6))
    mask = torch.zeros(2, 5, 6, dtype=torch.bool)
    mask[0, 1:3, 2:5] = True
    background = {name: torch.where(mask, values, 0) for name, values in truth.items()}
    predictions = {"T2": (truth["T2"] * 1.2).requires_grad_(), "MWF": truth["MWF"] + 0.1}
    terms = QuantityError(outputs=OUTPUTS)(predictions, sample_of({**background, "mask": mask}))
    expected = (2 * math.log(1.2) / math.log(25)) ** 2
    assert terms["T2"].tolist() == pytest.approx([expected, 0.0])
    assert terms["MWF"].tolist() == pytest.approx([0.25, 0.0])
    (slope,) = torch.autograd.grad(terms["T2"].sum(), predictions["T2"])
    assert torch.isfinite(slope).all()
    assert (slope[mask] != 0).all() and not slope[~mask].any()


def test_mean_inside_is_that_of_each_sample():
    values = torch.arange(12.0).reshape(2, 2, 3)
    assert mean_inside(values, None).tolist() == [2.5, 8.5]
    mask = values > 4
    assert mean_inside(values, mask).tolist() == [5.0, 8.5]
    assert mean_inside(values[:, 0, 0], mask[:, 1, 2]).tolist() == [0.0, 6.0]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"norm": "huber"}, "norm"),
        ({"weights": {"T1": 1.0}}, "weights.T1"),
        ({"weights": {"T2": -1}}, "weights.T2"),
        ({"weights": {"T2": True}}, "weights.T2"),
        ({"weights": {"T2": math.nan}}, "weights.T2"),
        ({"outputs": {}}, "outputs"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(changes, key):
    with pytest.raises(ConfigError) as error:
        QuantityError(**{"outputs": OUTPUTS, **changes})
    assert error.value.key == key
