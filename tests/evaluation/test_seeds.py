"""What the experiments make of several trainings."""

import importlib
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_peak_errors import AMPLITUDE
from test_quantification_scores import comparison_of, drawn

from ipads_stream.evaluation.tasks.quantities.scores import scores

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def experiment(monkeypatch):
    """Imports a module of the experiments."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module


def test_seeds_are_pooled_and_what_was_not_trained_stays(experiment):
    pooled = experiment("seeds").pooled
    x, _, random = drawn(300)
    fit = x * np.exp(0.1 * random.standard_normal(len(x)))
    by_seed, networks = [], []
    for _ in range(3):
        network = x * np.exp(0.05 * random.standard_normal(len(x)))
        by_seed.append(scores(comparison_of(x, {"network": network, "fit": fit})))
        networks.append(np.sqrt(np.mean(np.log(network / x) ** 2)))
    network, untrained = pooled(by_seed)
    half = stats.t.ppf(0.975, 2) * np.std(networks, ddof=1) / np.sqrt(3)
    assert network["log_rmse"] == pytest.approx(np.mean(networks))
    assert network["log_rmse_high"] == pytest.approx(np.mean(networks) + half)
    assert network["log_rmse_by_seed"] == pytest.approx(networks)
    assert network["seeds"] == 3
    assert untrained == by_seed[0][1]
    # the classical method need not run again for every seed
    assert pooled([by_seed[0], by_seed[1][:1], by_seed[2][:1]]) == [network, untrained]
    with pytest.raises(ValueError, match="which the first seed does not have"):
        pooled([by_seed[0][:1], by_seed[1]])


def test_one_seed_has_no_interval(experiment):
    over_seeds = experiment("seeds").over_seeds
    assert over_seeds([2.0]) == {"mean": 2.0, "sd": None, "low": None, "high": None, "seeds": 1,
                                 "by_seed": [2.0]}  # fmt: skip


def test_medians_of_low_and_high_peaks(experiment):
    median_peak_errors = experiment("efficient_lines").median_peak_errors
    given = np.array([[0.2, 0.5, np.nan], [0.4, 9.0, 9.0]])
    found = median_peak_errors(given, AMPLITUDE)
    assert found == {"low": 0.5, "num_low": 1, "high": pytest.approx(0.3), "num_high": 2}
    nothing = median_peak_errors(given, 0 * AMPLITUDE)
    assert np.isnan(nothing["low"]) and nothing["num_high"] == 0
