"""Images of files: what lies outside, in which unit a phase is, which parts belong together."""

import json

import nibabel
import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.data.images import read_images
from ipads_stream.data.nifti import write_nifti

RANDOM = np.random.Generator(np.random.Philox(key=5))
PHASE = RANDOM.uniform(-np.pi, np.pi, (9, 8, 7, 2))
SIZE = RANDOM.uniform(1, 2, PHASE.shape).astype(np.float32)


def saved(folder, name, values, affine=None, **sidecar):
    path = folder / f"{name}.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)
    if sidecar:
        (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return path


def refused(path, match):
    with pytest.raises(ConfigError, match=match) as error:
        read_images(path)
    assert error.value.key == "data" and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("written", "units", "told"),
    [
        (lambda x: x, None, "in rad, by its range"),
        (lambda x: x, "rad", "in rad, as Units says"),
        (lambda x: x % (2 * np.pi), "arbitrary", "in rad, by its range"),
        (lambda x: 1e3 * x, None, "in mrad, by its range"),
        (lambda x: 1e3 * x, "mrad", "in mrad, as Units says"),
        (lambda x: np.degrees(x), None, "in deg, by its range"),
        (lambda x: ((x + np.pi) / (2 * np.pi) * 4096).astype(np.int16), None, "1/4096 turn"),
        (lambda x: ((x + np.pi) / (2 * np.pi) * 4096).astype(np.uint16), "arbitrary", "1/4096"),
        (lambda x: (x / np.pi * 4096).round().astype(np.int16), None, "1/8192 turn"),
        (lambda x: (x / np.pi * 2048).round().astype(np.int16), "", "1/4096 turn"),
        (lambda x: 0.3 * x, "rad", "in rad, as Units says"),
    ],
)
def test_a_phase_is_in_radians_whatever_it_was_written_in(written, units, told, tmp_path):
    path = saved(tmp_path, "a_part-mag_x", SIZE)
    saved(tmp_path, "a_part-phase_x", written(PHASE), **({} if units is None else {"Units": units}))
    images = read_images(path)
    kept = 0.3 if written(PHASE).max() < 1 else 1.0
    np.testing.assert_allclose(images.values, SIZE * np.exp(1j * kept * PHASE), atol=4e-3)
    (note,) = images.notes
    assert told in note


@pytest.mark.parametrize(
    ("written", "units"),
    [
        (lambda x: x * 0.004 / np.pi, None),  # +-0.004
        (lambda x: x * 0.004 / np.pi, "rad"),
        (lambda x: x / np.pi, None),  # +-1: of pi, of a turn, or a phase of little width?
        (lambda x: x / np.pi * 4096, "rad"),
        (lambda x: x / np.pi * 3000, None),
        (lambda x: x * 3, "rad"),
        (lambda x: x, "Hz"),
        (lambda x: x, ["rad"]),
    ],
)
def test_a_phase_of_no_known_or_of_another_unit_is_refused(written, units, tmp_path):
    path = saved(tmp_path, "a_part-mag_x", SIZE)
    saved(tmp_path, "a_part-phase_x", written(PHASE), **({} if units is None else {"Units": units}))
    refused(path, "a phase of .* a_part-phase_x")


def test_a_phase_that_is_0_is_0_in_every_unit(tmp_path):
    path = saved(tmp_path, "a_part-mag_x", SIZE)
    saved(tmp_path, "a_part-phase_x", 0 * PHASE)
    np.testing.assert_array_equal(read_images(path).values, SIZE)


def test_echoes_have_one_unit_of_phase(tmp_path):
    for n, factor in ((1, 1.0), (2, 1e3)):
        saved(tmp_path, f"a_echo-{n}_part-mag_x", SIZE[..., 0])
        saved(tmp_path, f"a_echo-{n}_part-phase_x", factor * PHASE[..., 0])
    refused(tmp_path / "a_echo-1_part-mag_x.nii.gz", "echoes of one kind and unit")


def test_real_and_imaginary_parts_are_one_image(tmp_path):
    saved(tmp_path, "a_part-imag_x", SIZE * np.sin(PHASE))
    path = saved(tmp_path, "a_part-real_x", SIZE * np.cos(PHASE))
    for part in (path, tmp_path / "a_part-imag_x.nii.gz"):
        found = read_images(part).values
        np.testing.assert_allclose(found, SIZE * np.exp(1j * PHASE), atol=1e-5)
    path.unlink()
    refused(tmp_path / "a_part-imag_x.nii.gz", "with part-real beside it")


def test_a_phase_alone_is_no_image(tmp_path):
    refused(saved(tmp_path, "a_part-phase_x", PHASE), "with part-mag beside it")
    kind = {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}
    refused(saved(tmp_path, "b", PHASE, **kind), "a phase as ImageType says")
    refused(saved(tmp_path, "c", PHASE, Units="rad", **kind), "a phase as ImageType says")
    assert read_images(saved(tmp_path, "field", PHASE, Units="Hz", **kind)).values.any()


def test_parts_that_lie_elsewhere_or_belong_to_another_echo_are_refused(tmp_path):
    path = saved(tmp_path, "a_part-mag_x", SIZE, EchoTime=0.004)
    saved(tmp_path, "a_part-phase_x", PHASE, np.diag([-1.0, 1, 1, 1]))
    refused(path, "the place of a_part-mag_x")
    saved(tmp_path, "a_part-phase_x", PHASE, EchoTime=0.008)
    refused(path, "other part of EchoTime")
    saved(tmp_path, "a_part-phase_x", PHASE + 0j, EchoTime=0.004)
    refused(path, "complex numbers")


def test_what_is_nan_in_every_image_is_outside(tmp_path):
    values = SIZE.copy()
    values[0], values[1, :, :, 0], values[1, :, :, 1] = np.nan, np.nan, 0
    images = read_images(saved(tmp_path, "a", values))
    assert not images.values[:2].any()
    np.testing.assert_array_equal(images.values[2:], values[2:])
    assert images.notes == ("0.222 of the voxels are NaN or 0 in every image: outside",)
    values[3, 3, 3, 0] = np.nan
    refused(saved(tmp_path, "b", values), "images of finite numbers; NaN in all or none")
    refused(saved(tmp_path, "c", 1e39 * SIZE.astype(float)), "finite numbers")


def test_where_the_scanner_s_axes_are_is_told_by_the_forms(tmp_path):
    tilted = np.eye(4)
    tilted[1:3, 1:3] = [[0.8, -0.6], [0.6, 0.8]]

    def scanner(sform, qform, units="mm", zooms=None):
        image = nibabel.Nifti1Image(SIZE, None)
        image.header.set_sform(*sform)
        image.header.set_qform(*qform)
        image.header.set_xyzt_units(units)
        if zooms:
            image.header.set_zooms(zooms)
        (tmp_path / "a.nii").write_bytes(image.to_bytes())
        return read_images(tmp_path / "a.nii").scanner

    np.testing.assert_allclose(scanner((tilted, 1), (np.eye(4), 2)), tilted[:3, :3], atol=1e-6)
    np.testing.assert_allclose(scanner((np.eye(4), 4), (tilted, 1)), tilted[:3, :3], atol=1e-6)
    np.testing.assert_allclose(scanner((np.eye(4), 2), (tilted, 1)), tilted[:3, :3], atol=1e-6)
    metres = scanner((1e-3 * tilted, 1), (np.eye(4), 0), "meter", (1e-3, 1e-3, 1e-3, 1))
    np.testing.assert_allclose(metres, tilted[:3, :3], rtol=1e-5, atol=1e-6)
    assert scanner((np.eye(4), 4), (np.eye(4), 0)) is None  # of a template
    assert scanner((np.eye(4), 0), (np.eye(4), 0)) is None
    sheared = np.eye(4) + 0.2 * np.eye(4, k=1)
    assert scanner((sheared, 1), (np.eye(4), 0)) is None
    # A form that was left at its default.
    assert scanner((np.eye(4), 1), (np.eye(4), 0), zooms=(2, 2, 3, 1)) is None


def test_a_plane_has_three_axes(tmp_path):
    image = nibabel.Nifti1Image(SIZE[:, :, 0, 0], np.diag([2.0, 2, 3, 1]))
    nibabel.save(image, tmp_path / "a.nii")
    images = read_images(tmp_path / "a.nii")
    assert images.values.shape == (9, 8, 1, 1)
    np.testing.assert_array_equal(np.diag(images.scanner)[:2], [2, 2])


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_a_map_has_the_place_of_its_images_and_nothing_else_of_them(kind, tmp_path):
    affine = np.array([[0, -2, 0, 30], [2, 0, 0, -10], [0, 0, 3, 5], [0, 0, 0, 1.0]])
    image = kind(SIZE[:, :, :, None], affine)
    image.set_qform(affine, 1)
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_intent(1007, (), "displacement")
    image.header["toffset"], image.header["slice_duration"] = 3, 2
    image.header["aux_file"] = b"of somebody"
    nibabel.save(image, tmp_path / "a.nii")
    images = read_images(tmp_path / "a.nii")
    place = {"affine": images.affine, "header": images.header}
    write_nifti(tmp_path / "b.nii.gz", images.values[..., 0], sidecar={}, **place)
    made = nibabel.load(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(made.affine, affine)
    np.testing.assert_allclose(made.header.get_qform(), affine, atol=1e-6)
    assert made.header["qform_code"] == 1 and made.header.get_xyzt_units()[0] == "mm"
    assert made.header.get_intent()[0] == "none" and made.header["aux_file"].item() == b""
    assert made.header["toffset"] == 0 and made.header["slice_duration"] == 0
