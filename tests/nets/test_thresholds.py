"""Learned thresholds: what they depend on, and how they are told."""

import pytest
import torch

from ipads_stream.core.errors import ConfigError
from ipads_stream.nets.dhmf import DHMF
from ipads_stream.nets.modern import Fixed, FixedThreshold, Hyper, HyperThreshold, MoDern, soft


def inputs(rate=0.4, rows=3, points=32):
    generator = torch.Generator().manual_seed(0)
    fid = torch.randn(rows, points, generator=generator, dtype=torch.complex64)
    mask = torch.rand(rows, points, generator=generator) < rate
    mask[:, 0] = True
    return {"fid": torch.where(mask, fid, 0), "mask": mask}


def test_soft_thresholding():
    h = torch.tensor([[[-3.0, -0.5, 0.0, 0.5, 3.0]]])
    torch.testing.assert_close(soft(h, torch.ones(1, 1, 1)), torch.tensor([[[-2.0, 0, 0, 0, 2]]]))


def test_a_hyper_threshold_lies_between_zero_and_the_mean_and_follows_it():
    threshold = HyperThreshold(4, 8, 0.5)
    h = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(1))
    mean = h.abs().mean(-1)
    found = threshold(h)
    assert ((found > 0) & (found < mean)).all()
    assert (threshold(3 * h) > found).all()
    nearly = HyperThreshold(4, 8, 0.05)
    torch.nn.init.zeros_(nearly.layers[2].weight)
    torch.testing.assert_close(nearly(h), 0.05 * mean)


def test_a_fixed_threshold_is_the_same_for_all():
    threshold = FixedThreshold(4, 0.02)
    h = torch.randn(2, 4, 50, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(threshold(h), torch.full((2, 4), 0.02))


def test_thresholds_are_told_by_phase_and_sample():
    hyper = MoDern(phases=3, channels=6)(inputs())["thresholds"]
    fixed = MoDern(phases=3, channels=6, threshold=Fixed(start=0.02))(inputs())["thresholds"]
    assert hyper.shape == fixed.shape == (3, 3)
    assert len(set(hyper[0].tolist())) == 3
    torch.testing.assert_close(fixed, torch.full((3, 3), 0.02))


def test_relative_thresholds_do_not_depend_on_the_size_of_the_features():
    net = MoDern(phases=2, channels=6)
    before = net(inputs())
    assert (before["relative_thresholds"] < 1).all()
    with torch.no_grad():
        for layer in (net.blocks[0].analysis[1], net.blocks[1].analysis[1]):
            layer.weight *= 4
            layer.bias *= 4
        for block in net.blocks:  # the bias alone, whatever it is fed with
            block.threshold.layers[2].weight.zero_()
    after = net(inputs())
    with torch.no_grad():
        for layer in (net.blocks[0].analysis[1], net.blocks[1].analysis[1]):
            layer.weight /= 4
    torch.testing.assert_close(
        net(inputs())["relative_thresholds"], after["relative_thresholds"], rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        4 * net(inputs())["thresholds"], after["thresholds"], rtol=1e-4, atol=0
    )


def test_the_two_arms_differ_in_the_threshold_alone():
    nets = [MoDern(phases=2, channels=6, threshold=part) for part in (Hyper(), Fixed())]
    names = [{n for n, _ in net.named_parameters() if ".threshold." not in n} for net in nets]
    assert names[0] == names[1]


def test_thresholds_of_factorisations_start_where_asked():
    found = DHMF(steps=(1, 1), growth=4, memory=2, threshold=0.05)(inputs())["thresholds"]
    torch.testing.assert_close(found, torch.full((2, 3), 0.051))


@pytest.mark.parametrize("part", [lambda: Hyper(hidden=0), lambda: Fixed(start=0.0)])
def test_thresholds_out_of_range(part):
    with pytest.raises(ConfigError, match=r"(hidden|start)=0"):
        part()
