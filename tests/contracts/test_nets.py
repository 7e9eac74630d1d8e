"""Every network of the package keeps what networks promise, with a system that it is made for."""

from __future__ import annotations

import pytest
import torch

from ipads_stream.config import build_run, compose, conf_dir
from ipads_stream.testing import check_net

SHORT, VOLUME = ["system=dlnmr", "system.points=64"], ["system=qsmnet", "system.shape=[16,16,16]"]
VARYING = "{_target_: ipads_stream.sequences.fingerprint_schedules.VaryingEchoes}"
SYSTEMS = {
    "ann_mwf": ["system=ann_mwf"],
    "ann_mwf_cpmg": ["system=ann_mwf_cpmg"],
    "anncest": ["system=anncest"],
    "deepspio": ["system=deepspio", "system.shape=[16,16,16]"],
    "deepspio_direct": ["system=deepspio", "system.shape=[16,16,16]"],
    "dhmf": SHORT,
    "dlnmr": SHORT,
    "dlnmr_complex": SHORT,
    "drone": ["system=drone", "system.schedule.num_frames=40"],
    "drone_published": ["system=drone", "system.data=magnitude", f"system.schedule={VARYING}"],
    "modern": SHORT,
    "modern_fixed": SHORT,
    "oled": ["system=oled"],
    "oled_rdn": ["system=oled"],
    "qsmnet": VOLUME,
    "qsmnet_unrolled": VOLUME,
    "set_posterior": ["system=t2_map"],
}


def test_every_network_has_a_system():
    assert set(SYSTEMS) == {path.stem for path in (conf_dir() / "net").glob("*.yaml")}


@pytest.fixture(autouse=True)
def _one_thread():
    """Small matrices are fastest with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_keeps_its_promises(name):
    run = build_run(compose([*SYSTEMS[name], f"net={name}"]))
    torch.manual_seed(0)
    report = check_net(run.build_net(), run.system)
    assert not report.skipped
