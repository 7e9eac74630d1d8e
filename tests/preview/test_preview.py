"""Previews of any system: which pictures there are, and of which samples."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import number
from ipads_stream.core.quantity import Quantity
from ipads_stream.core.sample import Sample
from ipads_stream.distributions import (
    Constant,
    Correlated,
    Curriculum,
    DiscreteUniform,
    Distribution,
    Emphasized,
    LinearSchedule,
    LogUniform,
    StepSchedule,
    Uniform,
    draw_parameters,
)
from ipads_stream.distributions.given import UNCONDITIONAL
from ipads_stream.phantoms import Grid, RandomShapes, moled_b0
from ipads_stream.preview import system as previewing
from ipads_stream.preview.parameters import Drawn
from ipads_stream.preview.system import drawn_alone, preview_system
from ipads_stream.stream.stream import Stream
from ipads_stream.systems.dlnmr import DLNMR

GRID = Grid((12, 9), (0.01, 0.01))


@dataclass(frozen=True, kw_only=True)
class Maps:
    """A system of another kind: an image in, a map and a number out."""

    name: ClassVar[str] = "maps"
    T2: Distribution
    B1: Distribution
    grid: Grid
    shapes: Any = None
    field: Any = None

    @property
    def quantities(self):
        return {"T2": Quantity(low=0.02, high=0.7, unit="ms", scale="log")}

    def draw(self, keys, progress):
        return draw_parameters({n: (getattr(self, n), ()) for n in ("T2", "B1")}, keys, progress)

    def render(self, params, keys, xp):
        T2 = np.broadcast_to(params["T2"][:, None, None], (len(params["T2"]), 12, 9))
        return Sample(
            inputs={"image": np.exp(-0.05 / T2).astype(np.complex64)},
            targets={
                "T2": T2.astype(np.float32),
                "B1": params["B1"].astype(np.float32),
                "mask": np.broadcast_to(np.arange(9) > 2, T2.shape).copy(),
            },
            params=params,
        )


def maps(**changed):
    system = Maps(T2=Uniform(low=20, high=700, unit="ms"), B1=Constant(value=1.0), grid=GRID)
    return dataclasses.replace(system, **changed)


def small_system():
    return DLNMR(
        num_peaks=DiscreteUniform(low=1, high=4),
        amplitude=Uniform(low=0.2, high=1.0),
        frequency=Uniform(low=0.05, high=0.95),
        phase=0.0,
        decay=Uniform(low=10, high=60),
        rate=Uniform(low=0.2, high=0.5),
        points=48,
    )


def streamed(system):
    return Stream(system, threads=0, device="cpu")


def names(system, folder, samples=40, **keywords):
    page, *paths = preview_system(streamed(system), folder, samples, **keywords)
    text = page.read_text()
    assert page.name == "index.html" and text.count("<figure") == len(paths)
    assert "_target_: " in text  # the configuration
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert all(path.stat().st_size > 5000 for path in paths)
    return [path.name for path in paths]


@pytest.mark.slow
def test_spectra(tmp_path):
    found = names(small_system(), tmp_path / "new" / "folder")
    assert found == ["parameters.png", "corner.png", "samples.png", "masks.png"]


def test_maps_without_anything_that_changes_or_depends(tmp_path):
    assert names(maps(), tmp_path) == ["parameters.png", "samples.png"]


@pytest.mark.slow
def test_what_depends_adapts_and_changes_gets_its_pictures(tmp_path):
    system = maps(
        T2=Curriculum(
            start=LogUniform(low=20, high=100, unit="ms"),
            end=LogUniform(low=50, high=700, unit="ms"),
            schedule=LinearSchedule(begin=100, end=500),
        ),
        B1=Correlated(
            distribution=Emphasized(
                distribution=Uniform(low=0.5, high=1.5), edges=(0.8,), shares=(0.5, 0)
            ),
            correlation={"T2": 0.5},
        ),
    )
    assert names(system, tmp_path) == [
        "parameters.png", "pairs.png", "corner.png", "regions.png", "course.png",
        "samples-0.png", "samples-50.png", "samples-100.png",
    ]  # fmt: skip


@pytest.mark.slow
def test_templates_and_their_distributions(tmp_path):
    system = maps(shapes=RandomShapes(number=4), field=moled_b0())
    found = names(system, tmp_path)
    assert found[0] == "parameters.png"
    assert "template-parameters-1.png" in found and "templates.png" in found
    drawn = drawn_alone(streamed(system), {"T2": Drawn("T2", None, "", np.ones(5))}, 5)
    assert "shapes.size" in drawn and drawn["shapes.size"].values.shape == (5,)
    assert "T2" not in drawn


def test_other_points_of_the_curriculum(tmp_path, monkeypatch):
    monkeypatch.setattr(previewing, "sample_gallery", lambda sample, path, **_: path)
    monkeypatch.setattr(previewing, "preview_page", lambda *_: tmp_path)
    system = maps(T2=Curriculum(start=0.1, end=0.5, schedule=StepSchedule(at=7)))
    paths = preview_system(streamed(system), tmp_path, 5, [25, 62.5])
    assert [path.name for path in paths[-2:]] == ["samples-25.png", "samples-62.5.png"]


@pytest.mark.parametrize("samples", [0, -5, 2.5, True])
def test_wrong_number_of_samples(tmp_path, samples):
    with pytest.raises(ConfigError, match="samples"):
        preview_system(streamed(small_system()), tmp_path / "out", samples)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("progress", "key"),
    [
        ([], "progress="),
        (50, "progress="),
        ("50", "progress="),
        ([0, 101], r"progress\[1\]=101"),
        ([-1], r"progress\[0\]=-1"),
        ([True], r"progress\[0\]=True"),
        (["half"], r"progress\[0\]='half'"),
    ],
)
def test_wrong_progress(tmp_path, progress, key):
    with pytest.raises(ConfigError, match=key):
        preview_system(streamed(small_system()), tmp_path / "out", 10, progress)
    assert not (tmp_path / "out").exists()


def test_galleries_show_the_same_samples_on_their_way(tmp_path, monkeypatch):
    """T2 of sample n is on the straight line from its value at the start to that at the end."""
    shown = []
    monkeypatch.setattr(
        previewing, "sample_gallery", lambda sample, path, **_: shown.append(sample) or path
    )
    monkeypatch.setattr(previewing, "preview_page", lambda *_: tmp_path)
    start, end = Uniform(low=20, high=100, unit="ms"), Uniform(low=300, high=700, unit="ms")
    schedule = LinearSchedule(begin=10, end=1010)
    system = maps(T2=Curriculum(start=start, end=end, schedule=schedule))
    preview_system(streamed(system), tmp_path, 20)
    first, middle, last = (np.asarray(sample.params["T2"]) for sample in shown)
    assert len(first) == 6
    np.testing.assert_allclose(first, streamed(maps(T2=start)).sample(range(6)).params["T2"])
    np.testing.assert_allclose(last, streamed(maps(T2=end)).sample(range(6)).params["T2"])
    np.testing.assert_allclose(middle, 0.5 * (first + last))
    assert first.max() < last.min()


def test_a_step_is_seen_before_and_after(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        previewing, "sample_gallery", lambda sample, path, **_: shown.append(sample) or path
    )
    monkeypatch.setattr(previewing, "preview_page", lambda *_: tmp_path)
    system = maps(T2=Curriculum(start=0.1, end=0.5, schedule=StepSchedule(at=7)))
    preview_system(streamed(system), tmp_path, 20)
    assert [float(np.asarray(sample.params["T2"])[0]) for sample in shown] == [0.1, 0.1, 0.5]


@dataclass(frozen=True, kw_only=True)
class Triangle(Distribution):
    """A user's own: F(x) = x^2 up to ``top``; nothing but its support and its quantile is said."""

    top: float = number(1.0, above=0)
    inner: Distribution | None = None

    @property
    def support(self):
        return 0.0, self._si(self.top)

    def quantile(self, u, given=UNCONDITIONAL):
        return self._si(self.top) * np.sqrt(u)


def test_a_distribution_of_ones_own_is_drawn_by_the_same_code(tmp_path):
    mine = Triangle(top=200, unit="ms")
    course = Curriculum(start=mine, end=Triangle(top=0.1), schedule=LinearSchedule(end=50))
    assert names(maps(T2=course, B1=Triangle()), tmp_path, progress=[50]) == [
        "parameters.png", "corner.png", "course.png", "samples-50.png"
    ]  # fmt: skip
    assert repr(mine) == "<Triangle: 0 to 200 ms>"
    assert mine.sample(1000).mean() == pytest.approx(400 / 3, rel=0.03)
    assert list(Triangle(inner=mine).parts) == ["inner"]
    with pytest.raises(ConfigError, match="top=-1: a finite number, above 0"):
        Triangle(top=-1)
