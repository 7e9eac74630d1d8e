"""What is hidden in simulated decays is found, and what is not there is not."""

from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.__main__ import main
from ipads_stream.core import random
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.evaluation.diagnosis import NONE, diagnose, diagnose_voxels, regions

TE = 0.01 * np.arange(1, 17)
NUM, REGIONS = 25, 6


def decays(hidden=None, coils=1):
    """Regions of a T2 of their own with what ``hidden`` makes of decays, (B, E), SNR 100."""
    keys = Keys(3, "diagnosis", np.arange(NUM * REGIONS, dtype=np.uint64))
    middle = np.repeat(np.linspace(0.05, 0.1, REGIONS), NUM)
    T2 = middle * np.exp(0.1 * random.normal(keys["T2"], ()))
    clean = np.exp(-TE / T2[:, None])
    clean = 100 * (clean if hidden is None else hidden(clean, T2))
    noise = random.normal(keys["noise"], (2 * coils, len(TE)))
    signal = np.sqrt((clean + noise[:, 0]) ** 2 + np.sum(noise[:, 1:] ** 2, axis=1))
    shape = signal.shape
    return {"signal": signal.astype(np.float32), "mask": np.ones(shape, bool),
            "TE": np.broadcast_to(TE.astype(np.float32), shape)}  # fmt: skip


REGION = np.repeat(np.arange(REGIONS), NUM)
HIDDEN = {
    "second pool": lambda s, T2: 0.85 * s + 0.15 * np.exp(-TE / 0.015),
    "constant": lambda s, T2: s + 0.05,
    "first image": lambda s, T2: s * np.where(np.arange(len(TE)) == 0, 0.93, 1),
    "alternating images": lambda s, T2: s * (1 + 0.04 * (-1.0) ** np.arange(len(TE))),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_hidden_explains_the_data_best(name):
    found = diagnose_voxels(load_system("t2_map"), decays(HIDDEN[name]), REGION)
    assert found.ranked_first.count(name) >= REGIONS - 1
    assert found.ranked[0] == name
    assert found.sentence().startswith(name)


def test_its_parameters_are_those_that_were_hidden():
    found = diagnose_voxels(load_system("t2_map"), decays(HIDDEN["constant"]), REGION)
    assert np.median(found.fits["constant"].shared["share"]) == pytest.approx(0.05, abs=0.003)
    found = diagnose_voxels(load_system("t2_map"), decays(HIDDEN["second pool"]), REGION)
    assert np.median(found.fits["second pool"].shared["fraction"]) == pytest.approx(0.15, abs=0.03)


def test_stimulated_echoes_and_coils():
    """Echoes by turning isochromats: the phase graph is not its own witness."""

    def turned(clean, T2):
        return np.stack([echoes(t, 0.8) for t in T2[:NUM]]).repeat(REGIONS, axis=0)

    system = load_system("t2_map")
    found = diagnose_voxels(system, decays(turned), REGION)
    assert found.ranked_first.count("stimulated echoes") == REGIONS
    assert np.median(found.fits["stimulated echoes"].shared["B1"]) == pytest.approx(0.8, abs=0.02)
    # A system that knows of them finds nothing more, and the T2 and the angle of the isochromats.
    found = diagnose_voxels(load_system("t2_cpmg"), decays(turned), REGION)
    assert found.ranked_first.count(NONE) >= REGIONS - 1
    assert np.median(found.alone.quantities["refocusing"]) == pytest.approx(0.8 * np.pi, rel=0.02)
    found = diagnose_voxels(system, decays(coils=8), REGION)
    assert found.ranked[0] == "several coils"


def echoes(T2, B1, T1=1.0, spins=128):
    """Of a train 90 - 180 - 180 ... times B1 between gradients that turn spins by whole turns."""
    M = np.zeros((3, spins))
    M[0], M[2] = np.sin(np.pi / 2 * B1), np.cos(np.pi / 2 * B1)
    angle = 2 * np.pi * (np.arange(spins) + 0.5) / spins
    c, s = np.cos(angle), np.sin(angle)
    half, found = TE[0] / 2, []
    e1, e2, flip = np.exp(-half / T1), np.exp(-half / T2), np.pi * B1

    def free(M):
        x, y, z = M
        return np.stack([e2 * (c * x - s * y), e2 * (s * x + c * y), 1 + e1 * (z - 1)])

    for _ in TE:
        x, y, z = free(M)
        M = free(np.stack([x, np.cos(flip) * y - np.sin(flip) * z,
                           np.sin(flip) * y + np.cos(flip) * z]))  # fmt: skip
        found.append(abs(np.mean(M[0] + 1j * M[1])))
    return np.array(found)


def test_where_nothing_is_hidden_nothing_is_found():
    found = diagnose_voxels(load_system("t2_map"), decays(), REGION)
    assert found.ranked_first.count(NONE) >= REGIONS - 1
    assert "nothing that was tried" in found.sentence()
    gradient = load_system("t2star_map", ["T2s.high=700"])
    found = diagnose_voxels(gradient, decays(lambda s, T2: s * np.sinc(5 * TE)), REGION)
    assert found.ranked[0] == "field gradient"


def test_what_is_not_known_of_the_data_is_not_tried():
    late = {name: x[:, 1:] for name, x in decays().items()}
    found = diagnose_voxels(load_system("t2_map"), late, REGION)
    assert "n times their distance" in found.untried["stimulated echoes"]


def test_regions_are_squares_of_neighbours():
    inside = np.zeros((12, 11, 2), bool)
    inside[:10, :10, 0] = True
    voxels, region = regions(inside, 64)
    assert region.max() == 3
    assert np.bincount(region).tolist() == [25] * 4
    x, y, _ = np.unravel_index(voxels[region == 0], inside.shape)
    assert (x.max(), y.max()) == (4, 4)
    assert regions(inside, 2)[1].max() == 1
    assert not len(regions(np.zeros((4, 4), bool), 9)[0])
    assert len(regions(np.ones(60, bool), 9)[0]) == 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec:FutureWarning")
def test_a_report_of_measured_images(tmp_path, capsys):
    values = 7 * decays(HIDDEN["constant"])["signal"].reshape(REGIONS, 5, 5, -1)
    values = values.swapaxes(0, 1).reshape(5, -1, 1, len(TE))
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a_MESE.nii.gz")
    (tmp_path / "a_MESE.json").write_text(json.dumps({"EchoTime": TE.tolist()}))
    quick = ["trainer.max_steps=1", "trainer.val_every=0", "trainer.bar=false", "logger=none"]
    output = [f"output={tmp_path / 'run'}", "device=cpu", "net.encoder.width=8"]
    assert main(["train", "system=t2_map", *quick, *output]) == 0
    words = [f"checkpoint={tmp_path / 'run' / 'run.ckpt'}", f"output={tmp_path / 'out'}"]
    assert main(["diagnose", *words, f"data={tmp_path / 'a_MESE.nii.gz'}"]) == 0
    said = capsys.readouterr().out
    assert "a share of the signal does not decay" in said
    assert "system=ann_mwf" in said
    page = (tmp_path / "out" / "diagnosis.html").read_text()
    assert "data:image/png" in page


def test_a_network_without_a_likelihood_is_refused():
    with pytest.raises(ConfigError, match="declares imperfections"):
        diagnose(object(), {"checkpoint": "x", "data": "y", "output": "z"})
