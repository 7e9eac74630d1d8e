"""Rooms of the simulators are one import away and cost nothing before they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ipads_stream import physics


def test_kernels_are_imported_with_the_room_that_is_used():
    code = (
        "import sys, ipads_stream.physics as physics; assert 'numba' not in sys.modules; "
        "from ipads_stream.physics import motion; assert 'numba' not in sys.modules; "
        "physics.spectroscopy; from ipads_stream.physics import epg; assert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", physics.ROOMS)
def test_every_room_is_an_attribute(name):
    assert getattr(physics, name).__name__ == f"ipads_stream.physics.{name}"


def test_what_is_no_room_is_named():
    with pytest.raises(AttributeError, match="'blocks'"):
        _ = physics.blocks
