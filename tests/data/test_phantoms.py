"""Phantoms of KomaMRI and JEMRIS as spins of ours."""

import math

import numpy as np
import pytest

from ipads_stream.data.phantoms import read_phantom

h5py = pytest.importorskip("h5py")


def jemris(path, data, spacing=(1.0, 2.0, 4.0), offset=(0.0, 0.0, 0.0)):
    with h5py.File(path, "w") as file:
        file["sample/data"], file["sample/resolution"] = data, [spacing]
        file["sample/offset"] = [offset]
    return path


def test_a_grid_of_jemris(tmp_path):
    data = np.zeros((2, 3, 4, 5))  # Z, Y, X
    data[1, 0, 3] = 0.5, 1e-3, 1e-2, 3e-2, 2 * math.pi * 25
    data[0, 2, 1] = 1.0, 2e-3, 2e-2, 2e-2, 0
    phantom = read_phantom(jemris(tmp_path / "grid.h5", data, offset=(0.0, 0.0, 10.0)))
    np.testing.assert_allclose(phantom.position, [[-0.5e-3, 2e-3, 8e-3], [1.5e-3, -2e-3, 12e-3]])
    np.testing.assert_allclose(phantom.M0, [1.0, 0.5])
    np.testing.assert_allclose(phantom.T1, [0.5, 1.0])
    np.testing.assert_allclose(phantom.T2, [0.05, 0.1])
    np.testing.assert_allclose(phantom.df, [0.0, 25.0])
    np.testing.assert_allclose(phantom.T2p, [math.inf, 0.05])


@pytest.mark.parametrize("name", ["koma_column1d", "koma_sphere_chemical_shift"])
def test_files_of_jemris(name, data_folder):
    phantom = read_phantom(data_folder / "phantom" / f"{name}.h5")
    assert phantom.num_spins > 30
    assert np.abs(phantom.position).max() < 0.3
    assert 0.01 < np.min(phantom.T2) <= np.max(phantom.T1) < 10


def koma(path, *, groups, **contrast):
    with h5py.File(path, "w") as file:
        file.attrs["Ns"] = 2
        for name, values in {"x": [0.1, 0.2], "y": [-0.1, 0.3]}.items():
            file[f"position/{name}/values" if groups else f"position/{name}"] = values
        for name, values in contrast.items():
            file[f"contrast/{name}/values" if groups else f"contrast/{name}"] = values
    return path


@pytest.mark.parametrize("groups", [False, True])
def test_spins_of_koma(groups, tmp_path):
    given = {"\u03c1": [1.0, 0.7], "T1": [1.0, 2.0], "T2": [0.1, 0.2], "T2s": [0.05, 0.2],
             "\u0394w": [2 * math.pi * 30, 0.0]}  # fmt: skip
    phantom = read_phantom(koma(tmp_path / "two.phantom", groups=groups, **given))
    np.testing.assert_allclose(phantom.position, [[0.1, -0.1, 0], [0.2, 0.3, 0]])
    np.testing.assert_allclose(phantom.M0, [1.0, 0.7])
    np.testing.assert_allclose(phantom.T1, [1.0, 2.0])
    np.testing.assert_allclose(phantom.df, [30.0, 0.0])
    np.testing.assert_allclose(phantom.T2p, [0.1, math.inf])


def test_values_in_a_table(tmp_path):
    path = koma(tmp_path / "two.phantom", groups=True, T1=[2, 1], T2=[0.1, 0.1])
    with h5py.File(path, "a") as file:
        file["contrast/T1"].attrs["type"] = "Indexed"
        file["contrast/T1/table"] = [0.5, 1.5]
    np.testing.assert_allclose(read_phantom(path).T1, [1.5, 0.5])
    with h5py.File(path, "a") as file:
        file["contrast/T1/values"][0] = 3
    with pytest.raises(ValueError, match=r"two.phantom: cannot be read .* out of its table"):
        read_phantom(path)


def test_what_is_no_phantom_is_refused(tmp_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    wrong = {"text.h5": "cannot be read as a phantom"}
    with h5py.File(tmp_path / "empty.h5", "w"):
        wrong["empty.h5"] = "no group sample"
    jemris(tmp_path / "maps.h5", np.ones((2, 2, 4)))
    with h5py.File(koma(tmp_path / "moving.phantom", groups=False), "a") as file:
        file["motion/motion_1/x"] = [1.0]
        file.create_group("contrast")
    with h5py.File(koma(tmp_path / "uneven.phantom", groups=False, T1=[1.0]), "a"):
        pass
    with h5py.File(tmp_path / "vast.h5", "w") as file:
        file.create_dataset("sample/data", (10**6, 10**4, 5), "f8", chunks=(1, 100, 5))
    wrong |= {"maps.h5": "sample/data: shape", "moving.phantom": "its spins move",
              "uneven.phantom": "T1: shape", "vast.h5": "declares 400 GB"}  # fmt: skip
    for name, message in wrong.items():
        with pytest.raises(ValueError, match=rf"{name}: .*{message}"):
            read_phantom(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_phantom(tmp_path / "none.h5")
