"""Maps of somebody's images: what is read, what is written, what is refused."""

import gzip
import json

import nibabel
import numpy as np
import pytest
from toy_decay import TE, Decay, DecaySlices, log_linear

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity
from ipads_stream.data.images import read_images, stem_of
from ipads_stream.evaluation.tasks.quantities.images import (
    apply_to_images,
    axis_of,
    unit_of_map,
)
from ipads_stream.evaluation.tasks.quantities.placement import placement
from ipads_stream.report.figures import NETWORK

AFFINE = np.array([[0, -2, 0, 30], [2, 0, 0, -10], [0, 0, 3, 5], [0, 0, 0, 1.0]])
T2 = 0.06 + 0.02 * np.arange(30).reshape(5, 3, 2) / 30
SIGNAL = np.exp(-TE / T2[..., None]).astype(np.float32)
FIT = {NETWORK: log_linear}


def saved(folder, name="sub-01_MESE", values=SIGNAL, sidecar=None):
    """A NIfTI file and its sidecar."""
    image = nibabel.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, folder / f"{name}.nii.gz")
    if sidecar is not None:
        (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return folder / f"{name}.nii.gz"


@pytest.mark.parametrize("system", [Decay(), DecaySlices()])
def test_maps_lie_where_the_images_did_in_the_units_of_bids(system, tmp_path):
    signal = SIGNAL.copy()
    signal[0, 0, 0] = 0  # outside the head
    path = saved(tmp_path, values=signal, sidecar={"EchoTime": TE.tolist()})
    (tmp_path / "maps").mkdir()
    told = written(FIT, system, path, tmp_path / "maps")
    image = nibabel.load(tmp_path / "maps" / "sub-01_T2map.nii.gz")
    found = image.get_fdata()
    assert image.get_data_dtype() == np.float32
    assert np.isnan(found[0, 0, 0]) and np.isfinite(found).sum() == T2.size - 1
    inside = np.isfinite(found)
    np.testing.assert_allclose(found[inside], T2[inside], rtol=1e-3)
    np.testing.assert_allclose(image.affine, AFFINE)
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.header["sform_code"] == nibabel.load(path).header["sform_code"]
    sidecar = json.loads((tmp_path / "maps" / "sub-01_T2map.json").read_text())
    assert sidecar["Units"] == "s"  # BIDS has seconds, reports of this quantity milliseconds
    assert sidecar["Sources"] == ["sub-01_MESE.nii.gz"]
    median = 1e3 * np.median(T2.ravel()[1:])
    assert f"T2 {median:.4g} ms in the median" in told and "0 % outside 20 to 500" in told
    names = {
        "T2.png",
        "M0.png",
        "sub-01_T2map.nii.gz",
        "sub-01_T2map.json",
        "sub-01_M0map.nii.gz",
        "sub-01_M0map.json",
    }
    assert {file.name for file in (tmp_path / "maps").iterdir()} == names


def test_what_training_did_not_cover_is_told(tmp_path):
    path = saved(tmp_path, values=np.exp(-TE / np.full((2, 1, 1, 1), 0.9)), name="x")
    assert "100 % outside 20 to 500" in written(FIT, Decay(), path, tmp_path, axis=[*TE])


def test_other_methods_are_named_in_the_file(tmp_path):
    path = saved(tmp_path, sidecar={"EchoTime": TE.tolist()})
    methods = {**FIT, "log-linear fit": log_linear}
    apply_to_images(methods, Decay(), path, tmp_path)
    assert (tmp_path / "sub-01_T2map.nii.gz").is_file()
    assert (tmp_path / "sub-01_desc-loglinearfit_T2map.nii.gz").is_file()


@pytest.mark.parametrize("space", [(5, 3, 2), (15, 2), (30,)])
def test_numpy_files_have_space_first_and_echoes_last(space, tmp_path):
    np.save(tmp_path / "mine.npy", SIGNAL.reshape(*space, 8))
    apply_to_images(FIT, Decay(), tmp_path / "mine.npy", tmp_path, axis=list(1e3 * TE), unit="ms")
    found = nibabel.load(tmp_path / "mine_T2map.nii.gz").get_fdata()
    assert found.ndim == 3
    np.testing.assert_allclose(found.reshape(space), T2.reshape(space), rtol=1e-3)


def test_echoes_of_files_of_their_own_are_taken_together_in_their_order(tmp_path):
    for n in range(8):  # more than nine echoes sort as numbers, not as text
        saved(
            tmp_path, f"sub-01_echo-{n + 4}_MESE", SIGNAL[..., n], {"EchoTime": TE[n], "EchoNo": n}
        )
    path = tmp_path / "sub-01_echo-4_MESE.nii.gz"
    images = read_images(path)
    np.testing.assert_array_equal(images.values, SIGNAL)
    assert images.sidecar["EchoTime"] == TE.tolist()
    apply_to_images(FIT, Decay(), path, tmp_path / "maps")
    found = nibabel.load(tmp_path / "maps" / "sub-01_T2map.nii.gz").get_fdata()
    np.testing.assert_allclose(found, T2, rtol=1e-3)


def test_magnitude_and_phase_make_complex_images(tmp_path):
    random = np.random.Generator(np.random.Philox(key=0))
    phase = random.uniform(-np.pi, np.pi, SIGNAL.shape)
    saved(tmp_path, "sub-01_part-phase_MEGRE", phase)
    images = read_images(saved(tmp_path, "sub-01_part-mag_MEGRE"))
    assert images.values.dtype == np.complex64
    np.testing.assert_allclose(images.values, SIGNAL * np.exp(1j * phase), atol=1e-6)
    np.testing.assert_array_equal(
        read_images(tmp_path / "sub-01_part-phase_MEGRE.nii.gz").values, images.values
    )


def test_complex_files_stay_complex(tmp_path):
    path = saved(tmp_path, values=(SIGNAL * 1j).astype(np.complex64))
    np.testing.assert_array_equal(read_images(path).values, SIGNAL * 1j)


def test_a_volume_of_one_image_has_one_channel(tmp_path):
    assert read_images(saved(tmp_path, values=SIGNAL[..., 0])).values.shape == (5, 3, 2, 1)
    five = read_images(saved(tmp_path, values=SIGNAL[..., None, :])).values
    np.testing.assert_array_equal(five, SIGNAL)


def written(*given, **options):
    return "\n".join(apply_to_images(*given, **options).paragraphs)


def refused(path, system=None, **options):
    with pytest.raises(ConfigError) as error:
        apply_to_images(FIT, system or Decay(), path, path.parent / "maps", **options)
    assert "\n" not in str(error.value)
    assert not (path.parent / "maps").exists()
    return error.value


def test_wrong_images_are_refused_in_one_line(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"no such thing")
    assert "a whole NIfTI file" in str(refused(tmp_path / "a.nii.gz"))
    whole = saved(tmp_path, "b").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert "a whole NIfTI file" in str(refused(tmp_path / "b.nii.gz"))
    (tmp_path / "c.npy").write_bytes(b"\x93NUMPY")
    assert "a whole NumPy file" in str(refused(tmp_path / "c.npy"))
    np.save(tmp_path / "d.npy", np.array(["a", "b"]))
    assert "numbers, space axes first" in str(refused(tmp_path / "d.npy"))
    assert "that exists" in str(refused(tmp_path / "e.nii"))
    assert ".nii.gz, .nii, .npy" in str(refused(tmp_path / "f.dcm"))
    broken = SIGNAL.copy()
    broken[0, 0, 0, 0] = np.nan
    assert "finite numbers" in str(refused(saved(tmp_path, "g", broken)))
    path = saved(tmp_path, "h", SIGNAL[..., None, None] * np.ones(3))
    assert "three space axes" in str(refused(path))
    assert "8 echoes" in str(refused(saved(tmp_path, "i", SIGNAL[..., :5])))
    np.save(tmp_path / "j.npy", SIGNAL.reshape(30, 8))
    assert "2 or 3 space axes" in str(refused(tmp_path / "j.npy", DecaySlices(), axis=[*TE]))


def test_wrong_echo_times_are_refused_in_one_line(tmp_path):
    path = saved(tmp_path, sidecar={"EchoTime": (2 * TE).tolist()})
    assert "0.01 to 0.08 s" in str(refused(path))
    for sidecar, told in (
        ({}, "echo times None"),
        ({"EchoTime": 0.01}, "0.01 to 0.08 s"),
        ({"EchoTime": TE[:5].tolist()}, "one for each of the 8 images"),
        ({"EchoTime": (1e3 * TE).tolist()}, "is the unit ms?"),
        ({"EchoTime": ["a"] * 8}, "finite numbers"),
    ):
        saved(tmp_path, sidecar=sidecar)
        assert told in str(refused(path)), told
    (tmp_path / "sub-01_MESE.json").write_text("{")
    assert "a sidecar in JSON" in str(refused(path))
    saved(tmp_path, sidecar={})
    for unit in ("Hz", "msec"):
        assert "axis_unit" in str(refused(path, axis=[*TE], unit=unit))


def test_the_configuration_goes_before_the_sidecar(tmp_path):
    path = saved(tmp_path, sidecar={"EchoTime": (2 * TE).tolist()})
    apply_to_images(FIT, Decay(), path, tmp_path, axis=list(1e6 * TE), unit="us")
    assert (tmp_path / "sub-01_T2map.nii.gz").is_file()
    saved(tmp_path, sidecar=None)
    (tmp_path / "sub-01_MESE.json").unlink()
    assert refused(path, unit="ms").key == "axis_unit"


def test_echoes_that_do_not_belong_together_are_refused(tmp_path):
    saved(tmp_path, "echo_echo-1_x", SIGNAL[..., 0])
    saved(tmp_path, "echo_echo-2_x", SIGNAL[:4, ..., 0])
    assert "of the shape" in str(refused(tmp_path / "echo_echo-1_x.nii.gz"))
    saved(tmp_path, "echo_echo-2_x", SIGNAL)
    assert refused(tmp_path / "echo_echo-1_x.nii.gz").key == "data"


def test_the_images_are_not_overwritten(tmp_path):
    path = saved(tmp_path, "sub-01_T2map", sidecar={"EchoTime": TE.tolist()})
    with pytest.raises(ConfigError, match="another folder"):
        apply_to_images(FIT, Decay(), path, tmp_path)
    np.testing.assert_array_equal(read_images(path).values, SIGNAL)


def test_a_system_that_takes_no_images_says_so(tmp_path):
    class Blind(Decay):
        @property
        def measured(self):
            raise AttributeError

    assert "toy takes no images" in str(refused(saved(tmp_path), Blind()))


def test_the_axis_is_that_of_the_system():
    class Offsets(Decay):
        axis = ("SaturationOffset", "ppm")

    values, how = axis_of(Offsets(), {"SaturationOffset": [-1, 0, 1]}, None, None, 3)
    assert values.tolist() == [-1, 0, 1] and how == "SaturationOffset of the sidecar, ppm"
    values, how = axis_of(Offsets(), {}, [3.5], "ppm", 1)
    assert values.tolist() == [3.5] and how == "SaturationOffset of axis, ppm"
    with pytest.raises(ConfigError, match="one of ppm"):
        axis_of(Offsets(), {}, [3.5], "Hz", 1)
    values, how = axis_of(Offsets(), {"EchoTime": [1]}, None, None, 1)
    assert values is None and "no SaturationOffset in a sidecar" in how
    assert axis_of(Decay(), {}, [0.1], None, 1)[0].tolist() == [0.1]  # SI where no unit is given


def test_voxels_and_the_direction_of_B0_are_those_of_the_system(tmp_path):
    class Dipoles(Decay):
        voxel_size = (2e-3, 2e-3, 3e-3)
        B0_direction = (0, 0, 1.0)

    class Echoes(Decay):
        spacing = 2e-3  # s, of the echoes

    def placed(system, affine):
        nibabel.save(nibabel.Nifti1Image(SIGNAL, affine), tmp_path / "a.nii")
        return placement(system, read_images(tmp_path / "a.nii")).note

    assert placed(Dipoles(), AFFINE) == ""
    for system in (Decay(), Echoes()):  # where it does not matter
        assert placed(system, np.diag([1, 1, 2, 1.0])) == ""
    with pytest.raises(ConfigError, match=r"voxels of 2 x 2 x 6 mm.*voxels of 2 x 2 x 3 mm"):
        placed(Dipoles(), AFFINE @ np.diag([1, 1, 2, 1]))
    turn = np.deg2rad(20)
    tilted = np.eye(4)
    tilted[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    with pytest.raises(ConfigError, match=r"B0 along .*0.34, 0.0, 0.94.* within 5 degrees"):
        placed(Dipoles(), tilted @ AFFINE)
    flipped = AFFINE @ np.diag([1, 1, -1, 1])  # a dipole has no preferred end
    assert placed(Dipoles(), flipped) == ""


@pytest.mark.parametrize(
    ("bids", "unit", "written"),
    [
        ("T1map", "ms", "s"),
        ("MWFmap", "", "%"),
        ("Chimap", "ppm", "ppm"),
        ("", "ms", "ms"),
        ("T2map", "Hz", "Hz"),  # a suffix does not make a frequency a time
    ],
)
def test_units_are_those_of_bids_where_they_are_of_the_same_kind(bids, unit, written):
    assert unit_of_map(Quantity(low=1, high=2, unit=unit, bids=bids)) == written


def test_maps_are_the_same_bytes_every_time(tmp_path):
    path = saved(tmp_path, sidecar={"EchoTime": TE.tolist()})
    for folder in ("a", "b"):
        apply_to_images(FIT, Decay(), path, tmp_path / folder)
    first, second = ((tmp_path / f / "sub-01_T2map.nii.gz").read_bytes() for f in "ab")
    assert first == second and len(gzip.decompress(first)) == 352 + 4 * T2.size


def test_names_end_as_they_may():
    from pathlib import Path

    assert [stem_of(Path(f"a.b.{end}")) for end in ("nii", "nii.gz", "npy")] == ["a.b"] * 3
