"""Raw lines of one shot become the image that was simulated without coils, ghosts or folding."""

import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.acquisition.echo_planar import (
    aligned,
    calibrated,
    odd_even_phase,
    shot_image,
    unfolded,
)
from ipads_stream.baselines.overlapping_echoes import windowed_log_fit
from ipads_stream.config import instantiate
from ipads_stream.core.description import describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.tasks.quantities import images as images_of_quantities
from ipads_stream.evaluation.tasks.quantities.images import apply_to_images
from ipads_stream.physics.bloch.single_shot import k_space
from ipads_stream.report.figures import NETWORK
from ipads_stream.systems.oled import inputs_of

COILS, N = 6, 32
RAISED = 1.0
GHOST = 0.7, 0.05  # rad, and rad a pixel, of backward lines
RANDOM = np.random.Generator(np.random.Philox(key=21))


def grid(n):
    r = (np.arange(n) - n // 2) / n
    return np.meshgrid(r, r, indexing="ij")


def sensitivities(n):
    """Smooth complex fields about the object."""
    x, y = grid(n)
    angles = 2 * np.pi * np.arange(COILS) / COILS
    maps = [
        np.exp(-((x - 0.55 * np.cos(a)) ** 2 + (y - 0.55 * np.sin(a)) ** 2) / 0.25)
        * np.exp(1j * (a + 1.5 * x * np.sin(a) - y))
        for a in angles
    ]
    return np.array(maps)


def transformed(images):
    axes = (-2, -1)
    shifted = np.fft.ifftshift(images, axes=axes)
    return np.fft.fftshift(np.fft.fftn(shifted, axes=axes, norm="ortho"), axes=axes)


def played(k, lines=None):
    """Lines in the order of time out of k-space (C, X, Y), backward ones with the ghost's phase."""
    n = k.shape[1]
    x = np.arange(n) - n // 2
    profiles = np.fft.ifftshift(k, axes=1)
    profiles = np.fft.fftshift(np.fft.ifft(profiles, axis=1, norm="ortho"), axes=1)
    turned = profiles * np.exp(1j * (GHOST[0] + GHOST[1] * x))[None, :, None]
    turned = np.fft.fftshift(
        np.fft.fft(np.fft.ifftshift(turned, axes=1), axis=1, norm="ortho"), axes=1
    )
    rows = [turned[:, ::-1, j] if odd else k[:, :, j]
            for odd, j in zip(np.arange(len(lines)) % 2, lines, strict=True)]  # fmt: skip
    return np.stack(rows, axis=1)


def reference(k):
    return played(k, [k.shape[2] // 2] * 3)


def test_the_phase_between_odd_and_even_lines_is_found():
    k = transformed(sensitivities(N) * (np.hypot(*grid(N)) < 0.35))
    assert odd_even_phase(reference(k)) == pytest.approx(GHOST, abs=1e-6)
    lines = played(k, list(range(N)))
    straight = played(k, list(range(0, N, 2)) * 2)[:, ::2]  # forward lines alone
    profiles = aligned(lines, odd_even_phase(reference(k)))
    assert profiles.shape == (COILS, N, N) and straight.shape[1] == N // 2
    expected = np.fft.fftshift(
        np.fft.ifft(np.fft.ifftshift(k, axes=1), axis=1, norm="ortho"), axes=1
    ).transpose(0, 2, 1)
    np.testing.assert_allclose(profiles, expected, atol=1e-6 * abs(expected).max())


@pytest.mark.parametrize("R", [1, 2])
def test_pixels_that_fold_on_one_are_told_apart(R):
    object_ = (np.hypot(*grid(N)) < 0.4) * np.exp(2j * grid(N)[0]) * (1 + grid(N)[1])
    maps = sensitivities(N)
    maps = maps / np.sqrt((abs(maps) ** 2).sum(axis=0))
    k = transformed(maps * object_)
    image = shot_image(played(k, list(range(0, N, R))), reference(k), maps)
    assert np.abs(image - object_).max() < 0.01
    profiles = aligned(played(k, list(range(N))), GHOST)
    np.testing.assert_allclose(unfolded(profiles, maps), object_, atol=1e-3)


def test_shapes_that_do_not_fit_are_refused():
    lines = np.ones((2, 12, N), complex)
    with pytest.raises(ValueError, match="a multiple of L"):
        shot_image(lines, lines[:, :3], np.ones((2, N, N), complex))
    with pytest.raises(ValueError, match="12 to 32"):
        calibrated(np.ones((2, 64, 64), complex), N)


@pytest.fixture(scope="module")
def scan():
    """A shot of R = 2 in every coil, with ghost and calibration, and its image without them."""
    system = load_system(
        "oled", ["sequence.matrix=64", "sequence.acceleration=2", "sequence.dwell=12e-6"]
    )
    n = system.grid.shape[0]
    x, y = grid(n)
    inside = np.hypot(x, y * 1.1) < 0.36
    maps = {
        "PD": inside * (0.8 + 0.4 * x),
        "T2": np.where(np.hypot(x - 0.1, y) < 0.15, 0.06, 0.1) + 0.05 * x,
        "T1": np.full((n, n), 1.2),
        "df": 20 * y + 10 * x,
        "B1": np.ones((n, n)),
    }
    maps = {name: values[None].astype(np.float32) for name, values in maps.items()}
    coils = sensitivities(n)
    tissue = {name: maps[name] for name in ("T1", "T2", "df", "B1")}
    # Magnetisation is positive: each part of a sensitivity is raised, and the excess taken away.
    raised = np.concatenate([np.zeros((1, n, n)), coils.real, coils.imag]) + RAISED
    amount = (maps["PD"] * raised).astype(np.float32)
    alike = {name: np.broadcast_to(x, amount.shape) for name, x in tissue.items()}
    excess, *parts = k_space(system.played, amount, system.grid.spacing, **alike)
    real, imaginary = np.reshape(parts - excess, (2, COILS, *excess.shape))
    small = system.averaged((maps["PD"] * coils).astype(np.complex64))
    shot, k = real + 1j * imaginary, transformed(small)
    turn = np.exp(1j * (GHOST[0] + GHOST[1] * (np.arange(64) - 32)))
    backward = np.fft.ifftshift(shot[:, 1::2], axes=2)
    backward = np.fft.fftshift(np.fft.ifft(backward, axis=2), axes=2) * turn[::-1]
    shot[:, 1::2] = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(backward, axes=2), axis=2), axes=2)
    middle = 64 // 2
    raw = {"shot": shot, "reference": reference(k),
           "calibration": k[:, middle - 16 : middle + 16, middle - 16 : middle + 16]}  # fmt: skip
    return system, {name: x.astype(np.complex64) for name, x in raw.items()}, maps


def test_T2_of_a_raw_shot_is_that_of_the_clean_image(scan):
    system, raw, maps = scan
    fit, clean = windowed_log_fit(system), inputs_of(system.forward(maps), np)
    made = system.measured(system.reconstructed(raw)[:, :, None], None)
    x, y = grid(64)
    inside = np.hypot(x, y * 1.1) < 0.3
    wanted, found = (fit(inputs)["T2"][0][inside] for inputs in (clean, made))
    error = found / wanted - 1
    assert abs(np.median(error)) < 0.005
    assert np.median(abs(error)) < 0.02
    wrong = raw | {"reference": raw["reference"] * 0 + 1}  # without the odd and even correction
    ghost = system.measured(system.reconstructed(wrong)[:, :, None], None)
    assert np.median(abs(fit(ghost)["T2"][0][inside] / wanted - 1)) > 0.05


def test_a_file_of_raw_lines_is_mapped(scan, tmp_path, monkeypatch):
    monkeypatch.setattr(images_of_quantities, "draw_measured", lambda *_: None)
    system, raw, _ = scan
    np.savez(tmp_path / "scan.npz", **raw)
    seen = {}

    def network(inputs):
        seen.update(inputs)
        return {"T2": np.full((1, 64, 64), 0.1, np.float32)}

    section = apply_to_images({NETWORK: network}, system, tmp_path / "scan.npz", tmp_path / "out")
    expected = system.measured(system.reconstructed(raw)[:, :, None], None)["image"]
    np.testing.assert_array_equal(seen["image"], expected)
    assert "odd and even ones aligned, coils unfolded" in section.paragraphs[0]
    assert (tmp_path / "out" / "scan_T2map.nii.gz").is_file()


def test_an_acceleration_is_described_where_there_is_one(scan):
    system = scan[0]
    assert describe(system)["sequence"]["acceleration"] == 2
    assert instantiate(describe(system), "system") == system
    plain = load_system("oled", ["sequence.matrix=32"])
    assert "acceleration" not in describe(plain)["sequence"]
    assert instantiate(describe(plain), "system") == plain


def test_every_other_line_of_a_matrix_of_128_fits_the_echo_times():
    words = ["sequence.matrix=128", "sequence.dwell=5e-6"]
    with pytest.raises(ConfigError, match=r"centre_time=0.088: at least 0.11"):
        load_system("oled", words)
    system = load_system("oled", [*words, "sequence.acceleration=2"])
    assert (system.matrix, len(system.played.lines.ky)) == (128, 64)
    np.testing.assert_allclose(system.shot.TE, [0.11, 0.082, 0.052, 0.022], atol=1e-3)


BROKEN = {
    "shot: none": lambda raw: {"shot": None},
    "reference: float64": lambda raw: {"reference": np.ones((COILS, 3, 64))},
    "finite numbers": lambda raw: {"calibration": raw["calibration"] * np.nan},
    r"\(6, 32, 64\)": lambda raw: {"shot": raw["shot"][:, 1:]},
    "as many in both": lambda raw: {"calibration": raw["calibration"][1:]},
    "12 to 64 along": lambda raw: {"calibration": raw["calibration"][:, :8]},
}


@pytest.mark.parametrize("message", BROKEN)
def test_raw_lines_of_another_shot_are_refused(scan, message, tmp_path):
    system, raw, _ = scan
    arrays = raw | BROKEN[message](raw)
    path = tmp_path / "scan.npz"
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    with pytest.raises(ConfigError, match=message) as error:
        apply_to_images({}, system, path, tmp_path / "out")
    assert error.value.key == "data"


def test_other_files_and_systems_say_so(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK nothing")
    with pytest.raises(ConfigError, match="complex arrays shot"):
        apply_to_images(
            {}, load_system("oled", ["sequence.matrix=32"]), tmp_path / "a.npz", tmp_path
        )
    with pytest.raises(ConfigError, match="takes no raw lines"):
        apply_to_images({}, load_system("ann_mwf"), tmp_path / "a.npz", tmp_path)
