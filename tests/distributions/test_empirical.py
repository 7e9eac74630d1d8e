"""Distributions of measured values, and files that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.random import Keys
from ipads_stream.distributions import Empirical

NUM = 20_000


def draws(distribution):
    return distribution.draw(Keys(0, "train", np.arange(NUM, dtype=np.uint64))["x"])


class TestEmpirical:
    def file(self, folder, values, name="values.npy"):
        np.save(folder / name, values)
        return str(folder / name)

    def test_a_histogram_is_that_of_numpy(self, tmp_path):
        values = stats.gamma(2).ppf((np.arange(999) + 0.5) / 999)
        law = Empirical(path=self.file(tmp_path, values), bins=15)
        counts, edges = np.histogram(values, bins=15)
        x = draws(law)
        assert law.support == (values[0], values[-1])
        assert stats.chisquare(np.histogram(x, edges)[0], counts * NUM / 999).pvalue > 1e-3

    def test_kernels_are_mirrored_at_the_support(self, tmp_path):
        values = np.array([0.1, 0.5, 0.7, 2.0])
        law = Empirical(
            path=self.file(tmp_path, values), method="kernel", bandwidth=0.3, low=0, high=3
        )

        def density(x):
            images = np.concatenate([values, -values, 6 - values])
            return stats.norm.pdf(x, images, 0.3).sum() / 4

        total = integrate.quad(density, 0, 3, limit=200)[0]
        for x in (0.05, 0.3, 0.9, 2.5):
            expected = integrate.quad(density, 0, x, limit=200)[0] / total
            assert law.cdf(np.array([x]))[0] == pytest.approx(expected, abs=3e-5)
        assert law.support == (0, 3)

    def test_many_values_give_their_own_distribution(self, tmp_path):
        values = stats.lognorm(0.5).ppf((np.arange(5000) + 0.5) / 5000)
        for method in ("kernel", "histogram"):
            law = Empirical(path=self.file(tmp_path, values), method=method, low=0, unit="ms")
            assert stats.ks_2samp(draws(law) * 1e3, values).statistic < 0.03

    def test_quantiles_follow_narrow_peaks_tails_and_repeated_values(self, tmp_path):
        u = (np.arange(3000) + 0.5) / 3000
        values = np.concatenate([
            stats.norm(830, 15).ppf(u), stats.norm(1330, 30).ppf(u),  # two tissues, ms
            np.exp(stats.norm(8.3, 0.4).ppf(u[::10])), np.full(900, 1000.0),
        ])  # fmt: skip
        law = Empirical(path=self.file(tmp_path, values), unit="ms")
        x = draws(law) * 1e3
        assert stats.ks_2samp(x, values).statistic < 0.012  # of the draws alone: 0.01
        assert np.mean(x == 1000.0) == pytest.approx(900 / values.size, abs=0.01)
        coarse = Empirical(path=law.path, bins=64, unit="ms")
        assert stats.ks_2samp(draws(coarse) * 1e3, values).statistic > 0.1
        wide = Empirical(path=law.path, low=1, high=50_000)
        assert wide.support == (1, 50_000)
        assert draws(wide).min() >= values.min()

    def test_few_values_are_joined_by_straight_lines(self, tmp_path):
        law = Empirical(path=self.file(tmp_path, np.array([4.0, 1.0, 2.0])))
        assert np.allclose(law.quantile(np.array([0, 0.25, 0.5, 0.75])), [1, 1.5, 2, 3])
        assert np.allclose(law.cdf(np.array([0.0, 1.5, 3.0, 9.0])), [0, 0.25, 0.75, 1])

    def test_columns_of_a_table(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("T1,T2\n100,10\n200,20\n\n300, 30\n")
        by_name = Empirical(path=str(path), column="T2", unit="ms")
        assert by_name.support == (0.01, 0.03)
        assert Empirical(path=str(path), column=0).support == (100, 300)
        path.write_text("3\n4\n5\n")
        assert Empirical(path=str(path)).support == (3, 5)
        array = self.file(tmp_path, np.array([[1, 5], [2, 6], [3, 7]]))
        assert Empirical(path=array, column=1).support == (5, 7)
        assert Empirical(path=array).support == (1, 7)

    def test_a_map_of_measured_values(self, tmp_path):
        nibabel = pytest.importorskip("nibabel")
        values = np.zeros((4, 4, 4), dtype=np.float32)
        values[1:3, 1:3, 1:3] = np.arange(8).reshape(2, 2, 2) + 20
        path = tmp_path / "T2.nii.gz"
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)
        law = Empirical(path=str(path), low=1, unit="ms")  # the background is left out
        assert law.support == (0.001, 0.027)
        assert law.quantile(np.array([2.0**-33]))[0] >= 0.02

    def test_a_changed_file_is_noticed(self, tmp_path):
        path = self.file(tmp_path, np.arange(10.0))
        before = Empirical(path=path)
        self.file(tmp_path, np.arange(11.0))
        with pytest.raises(ConfigError, match=r"sha256=.*has changed"):
            Empirical(path=path, sha256=before.sha256)
        assert Empirical(path=path) != before

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.array([1.0, np.nan]), "value 1 of 2 is nan"),
            (np.array([1.0, np.inf, 2.0]), "value 1 of 3 is inf"),
            (np.array([]), "it holds none"),
            (np.array([2.0, 2.0]), "at least 2 different values"),
            (np.array([1j, 2j]), "real numbers"),
            (np.array(["a", "b"]), "real numbers"),
        ],
    )
    def test_values_that_cannot_be_used(self, tmp_path, values, message):
        with pytest.raises(ConfigError, match=message) as error:
            Empirical(path=self.file(tmp_path, values))
        assert error.value.key == "path"

    def test_files_that_cannot_be_used(self, tmp_path):
        cases = {
            "empty.csv": ("", "not empty"),
            "blank.csv": ("\n\n", "holds none"),
            "word.csv": ("T2\n1\nx\n", "row 3 holds 'x'"),
            "short.csv": ("a,b\n1,2\n3\n", "row 3 holds ''"),
            "broken.npy": ("not an array", "an array file"),
            "broken.nii": ("not a map", "a NIfTI file"),
        }
        for name, (text, message) in cases.items():
            (tmp_path / name).write_text(text)
            column = 1 if name == "short.csv" else None
            with pytest.raises(ConfigError, match=message):
                Empirical(path=str(tmp_path / name), column=column)
        with pytest.raises(ConfigError, match="a file that exists"):
            Empirical(path=str(tmp_path / "nothing.csv"))
        with pytest.raises(ConfigError, match="ends in"):
            Empirical(path=str(tmp_path / "values.xls"))
        with pytest.raises(ConfigError, match=r"column='c': a number from 0 to 1 or one of a, b"):
            Empirical(path=str(tmp_path / "short.csv"), column="c")
