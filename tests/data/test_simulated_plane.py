"""The simulated plane is what a phased measured one would be."""

import numpy as np

from ipads_stream.data.planes.plane import spectrum
from ipads_stream.data.planes.simulated import simulated_plane
from ipads_stream.evaluation.metrics import find_peaks


def test_it_follows_from_its_seed():
    assert np.array_equal(simulated_plane(3).fid, simulated_plane(3).fid)
    assert not np.array_equal(simulated_plane(3).fid, simulated_plane(4).fid)


def test_it_is_absorptive_with_about_as_many_peaks_as_asked_for():
    plane = simulated_plane(0, num_peaks=60)
    shown = spectrum(plane).real
    assert plane.fid.dtype == np.complex64
    assert plane.fid.shape == (256, 128)
    assert shown.max() > 10 * -shown.min()
    assert 35 <= len(find_peaks(np.maximum(shown, 0), 0.05)) <= 70


def test_peaks_lie_inside_the_spectral_window():
    plane = simulated_plane(1, noise=0.0)
    energy = np.abs(spectrum(plane)) ** 2
    assert energy[:8].sum() + energy[-8:].sum() < 0.02 * energy.sum()


def test_without_noise_late_points_have_decayed():
    plane = simulated_plane(0, noise=0.0)
    energy = (np.abs(plane.fid) ** 2).sum(axis=0)
    assert energy[-10:].mean() < 0.5 * energy[:10].mean()
