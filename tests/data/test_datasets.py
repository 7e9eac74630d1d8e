"""Named measured data: where they are looked for and how their absence is told."""

import re
from pathlib import Path

import numpy as np
import pytest

from ipads_stream.data import named as datasets
from ipads_stream.data.planes.plane import read_plane, restrict, rows_between, spectrum
from ipads_stream.evaluation.metrics import find_peaks


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    import pooch
    import requests

    def refuse(*_, **__):
        raise requests.ConnectionError("offline")

    monkeypatch.setattr(pooch, "retrieve", refuse)
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    monkeypatch.delenv("IPADS_DATA", raising=False)


@pytest.fixture
def measured():
    """Path of a data set that lies in IPADS_DATA or in the cache; never downloads."""
    from unittest import mock

    import pooch

    def find(name):
        with mock.patch.object(pooch.core, "stream_download", side_effect=OSError("offline")):
            try:
                return datasets.find(name, progress=False)
            except datasets.DataUnavailable as reason:
                pytest.skip(f"data set {name} is not at hand: {reason}")

    return find


def test_unknown_name_lists_the_known():
    with pytest.raises(ValueError, match="'lysozyme'; allowed: ubiquitin, 15N13C"):
        datasets.find("lysozyme")


@pytest.mark.parametrize("name", datasets.NAMES)
def test_absent_and_offline_says_what_to_do(no_network, name):
    source = datasets.SOURCES[name]
    with pytest.raises(datasets.DataUnavailable) as error:
        datasets.find(name)
    for part in (source.file, source.repository, source.commit, "IPADS_DATA"):
        assert part in str(error.value)


def test_wrong_checksum_in_the_folder_is_an_error(no_network, monkeypatch, tmp_path):
    file = tmp_path / datasets.SOURCES["ubiquitin"].file
    file.parent.mkdir()
    file.write_bytes(b"something else")
    monkeypatch.setenv("IPADS_DATA", str(tmp_path))
    with pytest.raises(datasets.DataUnavailable, match="checksum mismatch"):
        datasets.find("ubiquitin")


@pytest.mark.parametrize("name", datasets.NAMES)
def test_downloads_are_https_and_checked(name, no_network, monkeypatch, tmp_path):
    import pooch

    asked = []
    monkeypatch.setattr(pooch, "retrieve", lambda url, **named: asked.append((url, named)) or "x")
    datasets.find(name)
    ((url, named),) = asked
    assert url.startswith("https://")
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", named["known_hash"])


def test_nothing_else_of_the_package_asks_the_network():
    package = Path(datasets.__file__).parents[1]
    fetching = r"\b(import|from) (pooch|requests|urllib|http|ftplib|httpx|aiohttp)\b|http://\S+\."
    found = {path.name for path in package.rglob("*.py") if re.search(fetching, path.read_text())}
    assert found == {"named.py"}


def test_ubiquitin_amides_lie_at_their_assigned_shifts(measured):
    plane = read_plane(measured("ubiquitin"))
    assert plane.fid.shape == (512, 128)
    assert (plane.mode, plane.is_phased) == ("echo-antiecho", True)
    amides = restrict(plane, rows_between(plane, *datasets.SOURCES["ubiquitin"].signal_ppm))
    absorptive = spectrum(amides).real
    positions = find_peaks(np.maximum(absorptive, 0), 0.05)
    rows, points = absorptive.shape
    shifts = np.stack(
        [amides.direct.ppm(rows)[positions[:, 0]], amides.indirect.ppm(points)[positions[:, 1]]], 1
    )
    for assigned in ((9.53, 127.7), (6.14, 120.4), (8.10, 102.6), (8.95, 133.0)):
        distance = np.abs(shifts - assigned) / (0.05, 0.6)
        assert (distance.max(axis=1) < 1).any(), assigned
    assert absorptive.max() > 10 * -absorptive.min()


def test_15N13C_is_absorptive_within_its_band(measured):
    plane = read_plane(measured("15N13C"))
    assert plane.fid.shape == (512, 166)
    assert (plane.mode, plane.direct.nucleus, plane.indirect.nucleus) == ("states", "13C", "15N")
    band = restrict(plane, rows_between(plane, *datasets.SOURCES["15N13C"].signal_ppm))
    absorptive = spectrum(band).real
    assert absorptive.max() > 10 * -absorptive.min()
    outside = restrict(plane, rows_between(plane, 150.0, 200.0))
    energy = (np.abs(outside.fid) ** 2).sum(axis=0)
    assert energy[-20:].mean() == pytest.approx(energy[:20].mean(), rel=0.3)  # noise alone
