"""Small files that stand for huge ones, and headers that lie: refused before memory is taken."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import resource
import struct
import zipfile
import zlib

import h5py
import nibabel
import numpy as np
import pytest
import scipy.io
import yaml

from ipads_stream import Frozen
from ipads_stream.core import matlab
from ipads_stream.core.errors import ConfigError
from ipads_stream.data.images import read_images
from ipads_stream.data.phantoms import read_phantom
from ipads_stream.data.planes.formats import read_arrays, read_bruker, read_nmrpipe
from ipads_stream.data.planes.recording import UnusableData
from ipads_stream.data.planes.varian import read_varian
from ipads_stream.data.raw import read_fids, read_kspace
from ipads_stream.distributions import Empirical
from ipads_stream.phantoms.textures import _read_images
from ipads_stream.sequences.fingerprint_schedules import read_schedule

HUGE = 1 << 40
PEAK = 1 << 28  # bytes that refusing may take


@pytest.fixture(autouse=True)
def _little_memory_is_taken():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < PEAK


def _npy(path, shape, dtype="<c8"):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": dtype, "fortran_order": False, "shape": shape}
        )
        file.write(bytes(64))
    return path


@pytest.mark.parametrize(
    "shape", [(HUGE,), (1 << 20, 1 << 20), (-1, 8), (1 << 62, 1 << 62), (1 << 64,)], ids=str
)
@pytest.mark.parametrize("reader", [read_fids, read_kspace, read_images, read_arrays])
def test_npy_headers(reader, shape, tmp_path):
    path = _npy(tmp_path / "x.npy", shape)
    with pytest.raises((ConfigError, UnusableData)):
        reader(path, None) if reader is read_arrays else reader(path)


@pytest.mark.parametrize("reader", [read_fids, read_kspace, read_images, read_arrays, Empirical])
@pytest.mark.parametrize("start", [b"\x9d", b"[" * 60, b"(", b"'", b"9" * 60], ids=str)
def test_npy_headers_that_python_cannot_parse(reader, start, tmp_path):
    path = _npy(tmp_path / "x.npy", (8,), dtype="<f8")
    raw = path.read_bytes()
    path.write_bytes(raw[:10] + start + raw[10 + len(start) :])
    with pytest.raises((ConfigError, UnusableData)):
        if reader is Empirical:
            Empirical(path=str(path))
        else:
            reader(path, None) if reader is read_arrays else reader(path)


def test_an_archive_named_npy(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(3))
    (tmp_path / "x.npz").rename(tmp_path / "x.npy")
    for reader in (read_fids, read_kspace, read_images):
        with pytest.raises(ConfigError, match="NumPy"):
            reader(tmp_path / "x.npy")


def test_npz_bomb(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        head = _npy(tmp_path / "head", (HUGE,)).read_bytes()
        archive.writestr("a.npy", head)
    with pytest.raises((ConfigError, UnusableData)):
        read_arrays(path, None)
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02") + 24  # the size in the directory
    raw[at : at + 4] = struct.pack("<I", 0xFFFFFFF0)
    path.write_bytes(raw)
    with pytest.raises((ConfigError, UnusableData)):
        read_arrays(path, None)


def _header(**fields):
    image = nibabel.Nifti1Image(np.ones((4, 4, 4, 3), np.float32), np.eye(4))
    raw = bytearray(image.to_bytes())
    places = {"dim": (40, "<8h"), "datatype": (70, "<h"), "magic": (344, "4s"),
              "vox_offset": (108, "<f"), "slope": (112, "<2f"), "size": (0, "<i")}  # fmt: skip
    for name, values in fields.items():
        place, form = places[name]
        struct.pack_into(form, raw, place, *values)
    return bytes(raw)


ABSURD = {
    "dim": {"dim": (7, 32767, 32767, 32767, 32767, 1, 1, 1)},
    "negative": {"dim": (4, -4, 4, 4, 3, 1, 1, 1)},
    "zero": {"dim": (4, 0, 4, 4, 3, 1, 1, 1)},
    "no axes": {"dim": (0, 0, 0, 0, 0, 0, 0, 0)},
    "axes": {"dim": (99, 4, 4, 4, 3, 1, 1, 1)},
    "datatype": {"datatype": (77,)},
    "rgb": {"datatype": (128,)},
    "float128": {"datatype": (1536,)},
    "offset": {"vox_offset": (1e30,)},
    "offset nan": {"vox_offset": (float("nan"),)},
    "offset inf": {"vox_offset": (float("inf"),)},
    "offset negative": {"vox_offset": (-1e6,)},
    "slope": {"slope": (float("inf"), 0.0)},
    "intercept": {"slope": (1.0, float("nan"))},
    "slope huge": {"slope": (1e38, 1e38)},
    "magic": {"magic": (b"xxxx",)},
    "size": {"size": (7,)},
    "gigantic": {"dim": (3, 8000, 8000, 8000, 1, 1, 1, 1)},
}


@pytest.mark.parametrize("name", ABSURD)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.filterwarnings("ignore")
def test_nifti_headers(name, suffix, tmp_path):
    raw = _header(**ABSURD[name])
    path = tmp_path / f"x{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix == ".nii.gz" else raw)
    for reader in (read_images, lambda x: Empirical(path=str(x))):
        try:
            reader(path)
        except ConfigError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("row", [(0, 0, 0, 0), (float("nan"),) * 4, (1, 0, 0, 0)], ids=str)
def test_axes_that_span_no_space(row, tmp_path):
    raw = bytearray(_header())
    struct.pack_into("<4f", raw, 296, *row)  # where the second axis of the scanner lies
    (tmp_path / "x.nii").write_bytes(raw)
    with pytest.raises(ConfigError, match="three axes of space"):
        read_images(tmp_path / "x.nii")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "\ufeff{}",
        "{",
        "3",
        '{"a": ' + "[" * 200 + "]" * 200 + "}",
    ],
    ids=range(6),
)
def test_sidecars(text, tmp_path):
    (tmp_path / "x.nii").write_bytes(_header())
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(ConfigError, match=r"x\.json"):
        read_images(tmp_path / "x.nii")


def _mat(element: bytes, *, compressed: bool = True) -> bytes:
    head = b"MATLAB 5.0".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    packed = zlib.compress(element)
    return head + (struct.pack("<II", 15, len(packed)) + packed if compressed else element)


def test_mat_bombs_and_strings(tmp_path):
    side = 1 << 20
    array = struct.pack("<IIIIII", 14, 1 << 30, 6, 8, 6, 0)  # a double array, its flags
    array += struct.pack("<IIii", 5, 8, side, side) + struct.pack("<II4s4x", 1, 1, b"a")
    path = tmp_path / "x.mat"
    for compressed in (True, False):
        path.write_bytes(_mat(array + struct.pack("<II", 9, 1 << 30), compressed=compressed))
        with pytest.raises((ConfigError, UnusableData)):
            read_arrays(path, None)
        with pytest.raises(ConfigError):
            read_schedule(path)


def test_aliases_of_a_schedule(tmp_path):
    lines = ["a0: &a0 [1, 1]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 40))]
    path = tmp_path / "x.yaml"
    path.write_text("\n".join([*lines, "FA: *a39", "TR: [1]"]))
    assert yaml.safe_load(path.read_text())  # it is small as long as nobody copies it
    with pytest.raises(ConfigError, match="things"):
        read_schedule(path)


def _phantom(path, size, **options):
    """Of KomaMRI, of so many spins, in few bytes."""
    with h5py.File(path, "w") as file:
        file.create_dataset("position/x", (size,), "<f8", **options)
        file.create_group("contrast")
    return path


@pytest.mark.parametrize(
    "options",
    [{}, {"chunks": (1 << 16,)}, {"chunks": (1 << 16,), "compression": "gzip"}],
    ids=["never written", "chunks", "compressed"],
)
def test_hdf5_declares_more_than_it_holds(options, tmp_path):
    with pytest.raises(ValueError, match=r"declares 1\.6 GB"):
        read_phantom(_phantom(tmp_path / "x.phantom", 200_000_000, **options))


def test_hdf5_of_other_files_and_kinds(tmp_path):
    np.arange(8.0).tofile(tmp_path / "other.bin")
    external = [(str(tmp_path / "other.bin"), 0, 64)]
    with pytest.raises(ValueError, match="another file"):
        read_phantom(_phantom(tmp_path / "x.phantom", 8, external=external))
    with h5py.File(tmp_path / "y.phantom", "w") as file:
        file["position/x"] = np.array(["a", "b"], dtype=object)
        file.create_group("contrast")
    with pytest.raises(ValueError, match="cannot be read as a phantom"):
        read_phantom(tmp_path / "y.phantom")
    with h5py.File(tmp_path / "z.phantom", "w") as file:
        file.create_group("position/x/values")
        file.create_group("contrast")
    with pytest.raises(ValueError, match="not a data set"):
        read_phantom(tmp_path / "z.phantom")


def _linked(path, link):
    """A phantom of KomaMRI whose positions, or the group of them, are what is given."""
    with h5py.File(path, "w") as file:
        file.create_group("contrast")
        file["inside/x"] = np.arange(4.0)
        if isinstance(link, h5py.VirtualLayout):
            file.create_group("position").create_virtual_dataset("x", link)
        else:
            file["position" if str(link.path).endswith("group") else "position/x"] = link
    return path


@pytest.mark.parametrize("target", ["x", "group"])
@pytest.mark.parametrize("kind", ["file", "pipe", "nowhere", "soft", "loop"])
def test_links_of_hdf5_are_not_followed(kind, target, tmp_path):
    """A reader that opened the pipe would wait for somebody to write."""
    other, name = tmp_path / "other.h5", f"/position/{target}" if target == "x" else "/group"
    with h5py.File(other, "w") as file:
        file["position/x"] = np.arange(4.0)
        file["group/x"] = np.arange(4.0)
    os.mkfifo(tmp_path / "pipe")
    links = {
        "file": h5py.ExternalLink(str(other), name),
        "pipe": h5py.ExternalLink(str(tmp_path / "pipe"), name),
        "nowhere": h5py.ExternalLink("/nowhere.h5", name),
        "soft": h5py.SoftLink("/inside/x" if target == "x" else "/inside/group"),
        "loop": h5py.SoftLink(name if target == "x" else "/position/group"),
    }
    with pytest.raises(ValueError, match="a link; what lies in the file itself is allowed"):
        read_phantom(_linked(tmp_path / "x.phantom", links[kind]))


def test_virtual_data_sets_of_hdf5_are_not_read(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["secret"] = np.arange(4.0)
    layout = h5py.VirtualLayout(shape=(4,), dtype="<f8")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret", shape=(4,))
    with pytest.raises(ValueError, match="its numbers lie in another file"):
        read_phantom(_linked(tmp_path / "x.phantom", layout))


def _frozen(path, link):
    """A set in HDF5 whose manifest is right and whose array is a link."""
    body = {"system": "x", "config": {}, "config_hash": "", "num_samples": 4,
            "arrays": {"params.x": {"dtype": "<f8", "shape": [4], "sha256": ""}}}  # fmt: skip
    text = json.dumps(body, sort_keys=True).encode()
    with h5py.File(path, "w") as file:
        file["params.x"] = link
        manifest = body | {"manifest_hash": hashlib.sha256(text).hexdigest()}
        file.attrs["manifest"] = json.dumps(manifest)
    return path


WRONG_SETS = {
    "a file elsewhere": {"arrays": {"../other": {"dtype": "<f8", "shape": [4], "sha256": ""}}},
    "arrays": {"arrays": [1]},
    "an array": {"arrays": {"params.x": 3}},
    "no array": {"arrays": {"params.x": {}}},
    "system": {"system": None},
    "config": {"config": "x"},
    "no samples": {"num_samples": 0},
    "samples": {"num_samples": "4"},
}


@pytest.mark.parametrize("change", WRONG_SETS.values(), ids=WRONG_SETS)
def test_a_frozen_set_whose_manifest_is_wrong_is_one_line(change, tmp_path):
    array = {"dtype": "<f8", "shape": [4], "sha256": ""}
    body = {"system": "x", "config": {}, "config_hash": "", "num_samples": 4,
            "arrays": {"params.x": array}} | change  # fmt: skip
    text = json.dumps(body, sort_keys=True).encode()
    (tmp_path / "set").mkdir()
    for name in ("other.npy", "set/params.x.npy"):
        np.save(tmp_path / name, np.zeros(4))
    manifest = body | {"manifest_hash": hashlib.sha256(text).hexdigest()}
    (tmp_path / "set/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError) as error:
        Frozen(tmp_path / "set")
    assert "\n" not in str(error.value) and "hash" not in str(error.value).partition("=")[0]


def test_links_of_a_frozen_set_are_not_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for n, link in enumerate((h5py.ExternalLink(str(tmp_path / "pipe"), "/x"), h5py.SoftLink("/"))):
        with pytest.raises(ConfigError, match="a link"):
            Frozen(_frozen(tmp_path / f"{n}.h5", link))


def test_a_frozen_set_in_hdf5_that_lies(tmp_path):
    body = {"system": "x", "config": {}, "config_hash": "", "num_samples": 1,
            "arrays": {"params.x": {"dtype": "<f8", "shape": [1, HUGE], "sha256": ""}}}  # fmt: skip
    text = json.dumps(body, sort_keys=True).encode()
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("params.x", (1, HUGE), "<f8", chunks=(1, 1024))
        manifest = body | {"manifest_hash": hashlib.sha256(text).hexdigest()}
        file.attrs["manifest"] = json.dumps(manifest)
    with pytest.raises(ConfigError, match="declares"):
        Frozen(tmp_path / "x.h5")


def _sparse(path, size):
    """A file of this length that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def test_files_larger_than_memory(tmp_path):
    (tmp_path / "x.hdr").write_text(f"# Dimensions\n{HUGE} 1 1 1\n")
    for reader, name in ((read_kspace, "x.cfl"), (read_fids, "x.txt"), (read_nmrpipe, "x.fid")):
        with pytest.raises(ConfigError, match="free"):
            reader(_sparse(tmp_path / name, 8 * HUGE))
    bruker = tmp_path / "bruker"
    bruker.mkdir()
    _sparse(bruker / "ser", 8 * HUGE)
    (bruker / "acqus").touch()
    (bruker / "acqu2s").touch()
    with pytest.raises(ConfigError, match="free"):
        read_bruker(bruker)


@pytest.mark.parametrize(
    "words", ["999999999 9", "-4 -4 1 1", "", "x", "9" * 5000, "0 1 1 1"], ids=range(6)
)
def test_cfl_headers(words, tmp_path):
    (tmp_path / "x.hdr").write_text(f"# Dimensions\n{words}\n")
    np.ones(16, np.complex64).tofile(tmp_path / "x.cfl")
    with pytest.raises(ConfigError):
        read_kspace(tmp_path / "x.cfl")


def test_varian_headers(tmp_path):
    (tmp_path / "procpar").write_text("")
    for sizes in ((1, 1 << 17, 1 << 17, 4, 4 << 17, 0), (1, 4, 4, -4, 16, 64), (1, 4, 4, 4, 0, 64)):
        (tmp_path / "fid").write_bytes(struct.pack(">6i", *sizes) + bytes(200))
        with pytest.raises(UnusableData, match="shorter than its header"):
            read_varian(tmp_path)


def test_extensions_of_a_nifti_file(tmp_path):
    """Of a compressed file of kilobytes, hundreds of megabytes would be read before a voxel."""
    size = 1 << 29
    extension = struct.pack("<4B2i", 1, 0, 0, 0, size - 352, 4)
    raw = _header(vox_offset=(float(size),))[:348] + extension
    with gzip.open(tmp_path / "x.nii.gz", "wb", compresslevel=1) as file:
        file.write(raw + bytes(1 << 20))
    for reader in (read_images, lambda x: Empirical(path=str(x))):
        with pytest.raises(ConfigError, match="bytes of its header"):
            reader(tmp_path / "x.nii.gz")


def test_images_that_lie_or_are_none(tmp_path):
    head = b"\x89PNG\r\n\x1a\n"
    field = struct.pack(">4sIIBBBBB", b"IHDR", 1 << 16, 1 << 16, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + field + struct.pack(">I", zlib.crc32(field))
    for content in (head + chunk, b"", b"nonsense", head):
        (tmp_path / "x.png").write_bytes(content)
        with pytest.raises(ConfigError, match=r"x\.png"):
            _read_images(str(tmp_path))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_mat_file_whose_cells_lie(tmp_path, compressed):
    inner = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1 << 15, 1 << 15)
    inner += struct.pack("<II", 1, 0)
    outer = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1)
    outer += struct.pack("<II4s4x", 1, 1, b"a") + struct.pack("<II", 14, len(inner)) + inner
    element = struct.pack("<II", 14, len(outer)) + outer
    (tmp_path / "x.mat").write_bytes(_mat(element, compressed=compressed))
    with pytest.raises(ConfigError, match="1073741824 parts, of which 0 are there"):
        read_arrays(tmp_path / "x.mat", None)


@pytest.mark.parametrize("compressed", [False, True])
def test_sound_cells_and_structs_are_read(tmp_path, compressed):
    cells = np.empty((2, 3), object)
    cells[:] = [[1, "a", np.ones(3)], [{"x": 1}, 2.5, np.zeros((2, 2))]]
    both = {"pos": np.ones((4, 5), complex), "neg": np.ones((4, 5), complex), "notes": {}}
    content = {"cells": cells, "both": both, "none": np.empty((0, 0), object)}
    scipy.io.savemat(tmp_path / "x.mat", content, do_compression=compressed)
    assert read_arrays(tmp_path / "x.mat", None).traces.shape == (10, 4)


@pytest.mark.slow
def test_damaged_mat_files_end_no_process_but_their_own(tmp_path):
    """The reader of SciPy dies of some of these; how many depends on its version."""
    path, rng = tmp_path / "x.mat", np.random.default_rng(5)
    scipy.io.savemat(path, {"a": np.ones((4, 5), complex), "b": {"c": "text"}})
    sound, sizes = path.read_bytes(), (0, 5, 9, 14, 15, 255, 1 << 16, 0x7FFFFFFF, 0xFFFFFFFF)
    ends = {"read": 0, "refused": 0}
    for _ in range(40):
        spoilt = bytearray(sound)
        for at in 4 * rng.integers(32, len(sound) // 4, 2):
            spoilt[at : at + 4] = int(rng.choice(sizes)).to_bytes(4, "little")
        path.write_bytes(spoilt)
        try:
            read_arrays(path, None)
            ends["read"] += 1
        except (ConfigError, UnusableData):
            ends["refused"] += 1
    assert ends["refused"] > 10 and ends["read"] > 0


def test_a_reader_that_dies_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"a": np.ones((4, 5), complex)})
    killer = tmp_path / "reader.py"
    killer.write_text("import os; os.kill(os.getpid(), 11)")
    monkeypatch.setattr(matlab, "__file__", str(killer))
    with pytest.raises(UnusableData, match="its reader died"):
        read_arrays(path, None)


def test_a_schedule_of_megabytes(tmp_path):
    with pytest.raises(ConfigError, match="bytes of YAML"):
        read_schedule(_sparse(tmp_path / "x.yaml", 1 << 30))


def test_sound_files_are_read(tmp_path):
    values = np.arange(24, dtype=np.complex64).reshape(2, 3, 4)
    np.save(tmp_path / "x.npy", values)
    assert np.array_equal(read_kspace(tmp_path / "x.npy"), values)
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros((64, 64), complex))
    assert read_arrays(tmp_path / "x.npz", None).traces.shape == (64, 64)
    zeros = nibabel.Nifti1Image(np.zeros((64, 64, 64, 3), np.float32), np.eye(4))
    nibabel.save(zeros, tmp_path / "x.nii.gz")
    assert read_images(tmp_path / "x.nii.gz").values.shape == (64, 64, 64, 3)
