"""Every system takes images as scanners and converters write them, and says what it took."""

import gzip
import json

import nibabel
import numpy as np
import pytest

from ipads_stream import load_system
from ipads_stream.core.errors import ConfigError
from ipads_stream.evaluation.tasks.quantities import images as images_of_quantities
from ipads_stream.evaluation.tasks.quantities.images import apply_to_images
from ipads_stream.physics.fields import dipole
from ipads_stream.report.figures import NETWORK

RANDOM = np.random.Generator(np.random.Philox(key=9))
ANISOTROPIC = np.diag([2.0, 2.0, 3.0, 1.0])
VOXELS = ["spacing=[2e-3,2e-3,3e-3]"]
VOLUME = ["shape=[12,10,8]", *VOXELS]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch):
    monkeypatch.setattr(images_of_quantities, "draw_measured", lambda *_: None)


def oblique(degrees, axis=0, affine=ANISOTROPIC):
    turn, (i, j) = np.deg2rad(degrees), [x for x in range(3) if x != axis]
    rotation = np.eye(4)
    rotation[[i, i, j, j], [i, j, i, j]] = np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)
    return rotation @ affine


def magnitudes(*shape):
    return RANDOM.integers(600, 1000, shape).astype(float)


def complexes(*shape):
    return magnitudes(*shape) * np.exp(2j * np.pi * RANDOM.uniform(-0.5, 0.5, shape))


def field(*shape):
    return (RANDOM.integers(-200, 200, shape) + 0.5) / 1000


STEPS = np.arange(1, 7)
# Overrides, images and sidecar by system.
CASES = {
    "ann_mwf": ([], lambda s: magnitudes(9, 7, 5, s.num_echoes), lambda s: {"EchoTime": s.TE}),
    "ann_mwf_cpmg": ([], lambda s: magnitudes(9, 7, 5, s.num_echoes), lambda s: {"EchoTime": s.TE}),
    "anncest": (
        [],
        lambda s: magnitudes(9, 7, 2, len(s.powers) * len(s.offsets_ppm)) / 1000,
        lambda s: {"SaturationOffset": np.tile(s.offsets_ppm, len(s.powers))},
    ),
    "deepspio": (VOLUME, lambda s: complexes(12, 10, 8, 1), lambda s: {"EchoTime": s.TE}),
    "drone": (
        ["schedule.num_frames=30"],
        lambda s: complexes(9, 7, 5, 30),
        lambda s: {"EchoTime": s.schedule.frames.TE},
    ),
    "oled": (
        ["sequence.matrix=32"],
        lambda s: complexes(s.matrix, s.matrix, 2, 1),
        lambda s: {"EchoTime": 0.02},
    ),
    "qsmnet": (VOLUME, lambda s: field(12, 10, 8, 1), lambda s: {"Units": "ppm"}),
    "qsmnet_unrolled": (VOLUME, lambda s: field(12, 10, 8, 1), lambda s: {"Units": "ppm"}),
    "t1_inversion": (
        [],
        lambda s: magnitudes(9, 7, 5, 6),
        lambda s: {"InversionTime": 0.4 * STEPS - 0.3, "RepetitionTime": 5.0},
    ),
    "t1_map": (
        [],
        lambda s: magnitudes(9, 7, 5, 6),
        lambda s: {"FlipAngle": 4.0 * STEPS, "RepetitionTimeExcitation": 0.01},
    ),
    "t2_cpmg": ([], lambda s: magnitudes(9, 7, 5, 6), lambda s: {"EchoTime": 0.01 * STEPS}),
    "t2_map": ([], lambda s: magnitudes(9, 7, 5, 6), lambda s: {"EchoTime": 0.01 * STEPS}),
    "t2star_map": ([], lambda s: magnitudes(9, 7, 5, 6), lambda s: {"EchoTime": 0.004 * STEPS}),
}


def saved(folder, name, values, affine=ANISOTROPIC, sidecar=None):
    image = nibabel.Nifti1Image(values, affine)
    path = folder / f"{name}.nii.gz"
    nibabel.save(image, path)
    if sidecar is not None:
        (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return path


def integers(folder, name, values, sidecar):
    """As a scanner has them: 16 bits and a slope; a phase in 4096 steps, in a file of its own."""
    if np.iscomplexobj(values):
        phase = np.round(np.angle(values) / (2 * np.pi) * 4095.9).astype(np.int16)
        saved(folder, f"{name}_part-phase_x", phase, sidecar=sidecar)
        return integers(folder, f"{name}_part-mag_x", abs(values), sidecar)
    step = np.float32(abs(values).max() / 30_000)
    stored = bytearray(
        nibabel.Nifti1Image((values / step).astype(np.int16), ANISOTROPIC).to_bytes()
    )
    stored[112:116] = step.tobytes()  # nibabel leaves the slope of arrays in memory out
    path = folder / f"{name}.nii.gz"
    path.write_bytes(gzip.compress(stored))
    (folder / f"{name}.json").write_text(json.dumps(sidecar))
    return path


def averages(system):
    """A method whose result shows every input: the mean magnitude over all but space."""
    axes = {"voxel": 1, "slice": 3, "volume": 4}[system.kind]

    def method(inputs):
        values = np.abs(next(x for x in inputs.values() if x.dtype != bool)).astype(float)
        while values.ndim > axes:
            values = values.mean(axis=1)
        return dict.fromkeys(system.quantities, values)

    return {NETWORK: method}


@pytest.mark.parametrize("name", CASES)
def test_images_are_the_same_however_they_are_stored(name, tmp_path):
    overrides, images, axis = CASES[name]
    system = load_system(name, overrides)
    values = images(system)
    values[:2] = 0  # outside
    sidecar = {key: np.asarray(x).tolist() for key, x in axis(system).items()}

    def maps(path, folder):
        section = apply_to_images(averages(system), system, path, tmp_path / folder)
        (file, *_) = sorted((tmp_path / folder).glob("*.nii.gz"))
        assert section.paragraphs[0].startswith(path.name)
        about = json.loads(file.with_name(file.name.replace(".nii.gz", ".json")).read_text())
        assert about["InputUnits"] in section.paragraphs[0]
        return nibabel.load(file)

    plain = maps(saved(tmp_path, "plain", values, sidecar=sidecar), "plain").get_fdata()
    assert np.isnan(plain[:2]).all() and np.isfinite(plain[2:]).all()
    five = maps(saved(tmp_path, "five", values[:, :, :, None], sidecar=sidecar), "five")
    assert five.ndim == 3
    np.testing.assert_array_equal(five.get_fdata(), plain)
    empty = values.copy()
    empty[:2] = np.nan
    np.testing.assert_array_equal(
        maps(saved(tmp_path, "nan", empty, sidecar=sidecar), "nan").get_fdata(), plain
    )
    whole = maps(integers(tmp_path, "whole", values, sidecar), "whole").get_fdata()
    np.testing.assert_allclose(whole, plain, atol=1e-2 * np.nanmax(plain))
    tilted = saved(tmp_path, "tilted", values, oblique(20), sidecar)
    if name == "deepspio":  # its slices have a direction of their own
        with pytest.raises(ConfigError, match="B0 along"):
            maps(tilted, "tilted")
    else:
        found = maps(tilted, "tilted")
        np.testing.assert_allclose(found.affine, oblique(20), atol=1e-5)
        assert np.isnan(found.get_fdata()[:2]).all()
        if not name.startswith("qsmnet"):
            np.testing.assert_array_equal(found.get_fdata(), plain)


@pytest.mark.parametrize("axes", [(2, 0, 1), (2, 1, 0), (0, 2, 1), (1, 2, 0)])
def test_sagittal_and_coronal_field_maps_are_exchanged_and_come_back(axes, tmp_path):
    system = load_system("qsmnet", VOLUME)
    values = field(12, 10, 8, 1)
    straight = saved(tmp_path, "a", values, sidecar={"Units": "ppm"})
    other = saved(
        tmp_path,
        "b",
        values.transpose(*axes, 3)[::-1],
        ANISOTROPIC[:, [*axes, 3]] @ np.diag([-1.0, 1, 1, 1]),
        {"Units": "ppm"},
    )
    made = {}

    def shifted(inputs):  # knows which axis is which, but not where they begin
        made[len(made)] = inputs["field_ppm"][0]
        return {"chi_ppm": inputs["field_ppm"] * inputs["field_ppm"].shape[1]}

    first = apply_to_images({NETWORK: shifted}, system, straight, tmp_path / "a")
    second = apply_to_images({NETWORK: shifted}, system, other, tmp_path / "b")
    assert "axes exchanged" in second.paragraphs[0] and "B0" not in first.paragraphs[0]
    assert {made[0].shape, made[1].shape} <= {(12, 10, 8), (10, 12, 8)}
    one, two = (nibabel.load(tmp_path / x / f"{x}_Chimap.nii.gz").get_fdata() for x in "ab")
    scale = np.where(made[1].shape[0] == 12, 1, 10 / 12)
    np.testing.assert_allclose(two, one.transpose(axes)[::-1] * scale, rtol=1e-6)


def test_B0_of_an_oblique_field_map_is_that_of_its_affine(tmp_path):
    """The field of a ball is told from that of the wrong direction after the map was turned."""
    system = load_system("qsmnet", ["shape=[40,40,32]", *VOXELS])
    affine = oblique(25, 0) @ np.diag([1.0, 1, 1, 1])
    r = np.stack(np.meshgrid(*(np.arange(n) - n / 2 for n in (40, 40, 32)), indexing="ij"), -1)
    distance = np.linalg.norm(r * [2, 2, 3], axis=-1)
    chi = (0.3 / (1 + np.exp((distance - 14) / 2))).astype(np.float32)  # soft, of 14 mm
    size = np.linalg.norm(affine[:3, :3], axis=0)
    along = affine[2, :3] / size
    seen = dipole.field(chi[None], size * 1e-3, along)[0]
    inside = distance < 36
    path = saved(tmp_path, "a", np.where(inside, seen, 0)[..., None], affine, {"Units": "ppm"})
    turned = {}

    def network(inputs):
        turned.update(inputs)
        return {"chi_ppm": inputs["field_ppm"]}

    told = apply_to_images({NETWORK: network}, system, path, tmp_path / "out").paragraphs[0]
    assert "interpolated on axes along it" in told and "0.42, 0.91" in told
    found, mask = turned["field_ppm"][0], turned["mask"][0]
    n = np.array(found.shape)
    r = np.stack(np.meshgrid(*(np.arange(m) - (m - 1) / 2 for m in n), indexing="ij"), -1)
    # The ball is at the voxel n / 2, half a voxel from the middle.
    middle = np.linalg.norm(affine[:3, :3] @ np.full(3, 0.5))
    assert middle < 2.1
    centre = (affine[:3, :3] / size) @ (0.5 * size)
    best = {}
    for name, direction in (("right", (0, 0, 1)), ("wrong", along)):
        trial = []
        for sign in (1, -1):
            for shift in (centre, affine[:3, :3].T @ np.full(3, 0.5)):
                d = np.linalg.norm(r * [2, 2, 3] - sign * np.asarray(shift), axis=-1)
                ball = (0.3 / (1 + np.exp((d - 14) / 2))).astype(np.float32)
                field = dipole.field(ball[None], (2e-3, 2e-3, 3e-3), direction)[0]
                trial.append(np.linalg.norm((field - found)[mask]) / np.linalg.norm(field[mask]))
        best[name] = min(trial)
    assert best["right"] < 0.1 < 0.3 < best["wrong"]
    back = nibabel.load(tmp_path / "out" / "a_Chimap.nii.gz").get_fdata()
    error = np.linalg.norm((back - seen)[inside]) / np.linalg.norm(seen[inside])
    assert np.isnan(back[~inside]).all() and error < 0.15


def test_the_unit_of_a_field_map_is_that_of_its_sidecar(tmp_path):
    system = load_system("qsmnet", VOLUME)
    values = field(12, 10, 8, 1)
    scanner = {"ImagingFrequency": 123.2, "MagneticFieldStrength": 3}
    found = {}
    for units, factor in (("ppm", 1), ("Hz", 123.2), ("rad/s", 2 * np.pi * 123.2)):
        path = saved(tmp_path, "a", values * factor, sidecar={"Units": units, **scanner})
        told = apply_to_images(averages(system), system, path, tmp_path / "a").paragraphs[0]
        assert f"field in {units}, as Units in the sidecar says" in told
        found[units] = nibabel.load(tmp_path / "a" / "a_Chimap.nii.gz").get_fdata()
    np.testing.assert_allclose(found["Hz"], found["ppm"], rtol=1e-5)
    np.testing.assert_allclose(found["rad/s"], found["ppm"], rtol=1e-5)
    saved(tmp_path, "a", values, sidecar=scanner)
    with pytest.raises(ConfigError, match="Units None"):
        apply_to_images(averages(system), system, tmp_path / "a.nii.gz", tmp_path / "b")


def test_a_file_that_does_not_say_where_B0_is_has_no_field_map(tmp_path):
    image = nibabel.Nifti1Image(field(12, 10, 8, 1), ANISOTROPIC)
    image.header.set_sform(ANISOTROPIC, 4)
    (tmp_path / "a.nii").write_bytes(image.to_bytes())
    with pytest.raises(ConfigError, match="affine that is not the scanner's"):
        apply_to_images({}, load_system("qsmnet", VOLUME), tmp_path / "a.nii", tmp_path / "b")


def bump(sides, extent=24.0):
    """A smooth field in a box of mm, on voxels of these sides."""
    axes = [side * (np.arange(round(extent / side)) - (round(extent / side) - 1) / 2)
            for side in sides]  # fmt: skip
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return (0.05 + 0.3 * np.exp(-(x**2 + 2 * y**2 + z**2) / 80))[..., None]


@pytest.mark.parametrize("sides", [(1.5, 2.0, 4.0), (3.0, 1.0, 2.0), (2.0, 3.0, 2.0)])
def test_field_maps_of_other_voxels_are_resampled_and_said_so(sides, tmp_path):
    """The network sees the system's voxels; the map has those of the file again."""
    system = load_system("qsmnet", VOLUME)
    seen = {}

    def network(inputs):
        seen["field"] = inputs["field_ppm"]
        return dict.fromkeys(system.quantities, inputs["field_ppm"])

    values = bump(sides)
    path = saved(tmp_path, "a", values, np.diag([*sides, 1.0]), {"Units": "ppm"})
    section = apply_to_images({NETWORK: network}, system, path, tmp_path / "out")
    assert "interpolated on 2 x 2 x 3 mm" in section.paragraphs[0]
    field_seen = seen["field"][0]
    np.testing.assert_allclose(
        field_seen.shape, np.array(values.shape[:3]) * sides / [2, 2, 3], atol=1
    )
    assert abs(field_seen.max() - values.max()) < 0.03
    (file,) = (tmp_path / "out").glob("*.nii.gz")
    made = nibabel.load(file).get_fdata()
    assert made.shape == values.shape[:3]
    inner = (slice(2, -2),) * 3  # half a voxel from the edge the field is not known
    assert abs(made - values[..., 0])[inner].max() < 0.03


def test_field_maps_of_far_other_voxels_are_refused(tmp_path):
    system = load_system("qsmnet", VOLUME)
    for sides in ((0.8, 2.0, 3.0), (2.0, 2.0, 6.5), (2.0, 2.0, 0.9)):
        path = saved(tmp_path, "a", bump(sides), np.diag([*sides, 1.0]), {"Units": "ppm"})
        with pytest.raises(ConfigError, match="within a factor 2"):
            apply_to_images({NETWORK: lambda x: {}}, system, path, tmp_path / "out")
