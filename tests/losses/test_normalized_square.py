"""The squared error of maps over their own size."""

from __future__ import annotations

import pytest
import torch

from ipads_stream.core.sample import Sample
from ipads_stream.losses.normalized_square import FLOOR, NormalizedSquare

LOSS = NormalizedSquare(outputs={"C": {"low": 0, "high": 10, "unit": "mM"}})


def terms(prediction, target, mask=None):
    targets = {"C": target} | ({} if mask is None else {"mask": mask})
    sample = Sample(inputs={}, targets=targets, params={})
    return LOSS({"C": prediction}, sample)["C"]


def test_samples_of_little_and_of_much_count_alike():
    truth = torch.rand(1, 4, 4, 4) + 0.5
    both = torch.cat([truth, 9 * truth])
    found = terms(1.2 * both, both)
    assert torch.allclose(found, torch.full((2,), 0.04))


def test_only_the_mask_counts():
    truth = torch.ones(1, 4, 4, 4)
    mask = torch.zeros(1, 4, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    wrong = torch.where(mask, truth + 0.5, 1e6)
    assert terms(wrong, torch.where(mask, truth, 7.0), mask).item() == pytest.approx(0.25)


def test_a_map_of_nothing_has_a_finite_loss():
    empty = torch.zeros(1, 4, 4, 4)
    assert terms(empty + 0.1, empty).item() == pytest.approx((0.1 / (10 * FLOOR)) ** 2)
