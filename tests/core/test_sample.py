"""A batch: its parts, its moves between devices, its short picture of itself."""

import numpy as np
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from ipads_stream import Stream, load_system


def batch():
    return Stream(load_system("dlnmr", ["points=16"]), seed=3, device="cpu").sample(range(20, 24))


def test_a_batch_moves_with_its_tensors_and_keeps_parameters_on_the_host():
    sample = batch()
    for moved in (sample.to("meta"), move_data_to_device(sample, torch.device("meta"))):
        tensors = [*moved.inputs.values(), *moved.targets.values(), moved.weight]
        assert {tensor.device.type for tensor in tensors} == {"meta"}
        assert moved.params is sample.params and moved.provenance is sample.provenance
    same = sample.to("cpu", non_blocking=True)
    assert torch.equal(same.inputs["fid"], sample.inputs["fid"])


def test_rows_are_those_samples_with_their_provenance():
    part = batch().rows(slice(1, 3))
    assert torch.equal(part.inputs["fid"], batch().inputs["fid"][1:3])
    assert np.array_equal(part.params["decay"], batch().params["decay"][1:3])
    assert part.provenance.indices.tolist() == [21, 22]
    assert len(part.weight) == len(part.provenance.substituted) == 2


def test_the_text_of_a_batch_is_short_and_names_every_array():
    sample = batch()
    text, page = repr(sample), sample._repr_html_()
    assert text.count("\n") == 3
    assert "dlnmr, train, seed 3, indices 20 to 23" in text
    for name in (*sample.inputs, *sample.targets, *sample.params):
        assert name in text and name in page
    assert "complex64 (4, 16)" in text
    assert len(page) < 3000
