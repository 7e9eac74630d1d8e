"""What can be written wrongly about distributions: one line each, with the key and the way out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from ipads_stream.__main__ import BAD_CONFIG, main

D = "ipads_stream.distributions"


def of(kind, **keys):
    """A distribution in Hydra's grammar."""
    inner = ", ".join(f"{key}: {value}" for key, value in keys.items())
    return f"{{_target_: {D}.{kind}{', ' if inner else ''}{inner}}}"


U = of("Uniform", low=0.1, high=1)
S = of("Uniform", low=10, high=90, unit="s")
LINE = of("LinearSchedule", end=1000)

# what is written -> the key that is named, and part of what is said
TABLE = {
    # values of plain distributions
    "amplitude.low=2": ("amplitude.low", "below high=1"),
    "amplitude.low=one": ("amplitude.low", "a finite number"),
    "amplitude.low=.inf": ("amplitude.low", "a finite number"),
    "amplitude.high=.nan": ("amplitude.high", "a finite number"),
    "amplitude.high=true": ("amplitude.high", "a finite number"),
    "amplitude.low=-0.5": ("amplitude", "support within [0, inf]"),
    "rate.high=150": ("rate", "support within [0, 1]"),
    "rate.a=-1": ("rate.a", "above 0"),
    "snr.low=0": ("snr.low", "a finite number, above 0"),
    "snr.low=-3": ("snr.low", "above 0"),
    "num_peaks.low=0": ("num_peaks", "support within [1, 256]"),
    "num_peaks.high=2.5": ("num_peaks.high", "a whole number"),
    f"num_peaks={of('Uniform', low=1, high=5)}": ("num_peaks", "whole numbers only"),
    f"decay={of('Normal', mean=50, std=0, unit='s')}": ("decay.std", "above 0"),
    f"rate={of('Choice', values='[]')}": ("rate.values", "a list of numbers"),
    f"rate={of('Choice', values='[0.2, x]')}": ("rate.values[1]", "a finite number"),
    f"rate={of('Choice', values='[0.2, 0.3]', weights='[1]')}": ("rate.weights", "as many as"),
    f"rate={of('Choice', values='[0.2, 0.3]', weights='[1, -1]')}": (
        "rate.weights",
        "none below 0",
    ),
    f"rate={of('Histogram', edges='[0.1, 0.1]', shares='[1]')}": ("rate.edges[1]", "above the one"),
    f"rate={of('Histogram', edges='[0.1, 0.2]', shares='[0]')}": (
        "rate.shares",
        "at least one above",
    ),
    f"rate={of('Histogram', edges='[0.1]', shares='[1]')}": ("rate.edges", "at least 2 numbers"),
    # keys, classes, units
    "decay.lo=1": ("decay.lo", "no such key"),
    "+decay.lo=1": ("decay.lo", "no such key; Uniform has"),
    "~decay.high": ("decay.high", "Uniform needs one"),
    "decay.unit=Hz": ("decay.unit", "one of ['s', 'ms', 'us'] (time)"),
    "decay.unit=seconds": ("decay.unit", "one of"),
    "frequency.unit=ppm": ("frequency.unit", "(frequency)"),
    "decay=fast": ("decay", "a number or a distribution"),
    "decay=null": ("decay", "a number or a distribution"),
    f"decay={of('Gaussian', mean=3)}": ("decay._target_", "a name that exists"),
    f"decay={LINE}": ("decay", "a number or a distribution"),
    # mixtures
    f"amplitude={of('Mixture', components='[]')}": ("amplitude.components", "a list of"),
    f"amplitude={of('Mixture', components=U)}": ("amplitude.components", "a list of"),
    f"amplitude={of('Mixture', components=f'[{U}, loud]')}": (
        "amplitude.components[1]",
        "a number or a distribution",
    ),
    f"amplitude={of('Mixture', components=f'[{U}]', weights='[1, 2]')}": (
        "amplitude.weights",
        "as many as components (1)",
    ),
    f"amplitude={of('Mixture', components=f'[{U}, {U}]', weights='[0, 0]')}": (
        "amplitude.weights",
        "at least one above 0",
    ),
    f"decay={of('Mixture', components='[' + S + ', ' + of('Uniform', low=1, high=2, unit='Hz') + ']')}": (  # noqa: E501
        "decay.components[1].unit",
        "(time, as 's')",
    ),
    f"decay={of('Mixture', components='[' + of('Uniform', low=9, high=2) + ']')}": (
        "decay.components[0].low",
        "below high=2",
    ),
    f"decay={of('Mixture', components='[' + of('Truncated', distribution=S, below='snr') + ']')}": (
        "decay.components[0]",
        "put Conditional, Proportional, Curriculum outside",
    ),
    # truncation
    f"decay={of('Truncated', distribution=S)}": ("decay.low", "at least one of low, high"),
    f"decay={of('Truncated', distribution=S, low=50, high=40)}": ("decay.low", "at most high=40"),
    f"decay={of('Truncated', distribution=S, low=100)}": ("decay.low", "an end within"),
    f"decay={of('Truncated', distribution=S, below='T1')}": ("decay.below", "another parameter: "),
    f"decay={of('Truncated', distribution=S, below='decay')}": ("decay.below", "another parameter"),
    f"decay={of('Truncated', distribution=S, below=3)}": ("decay.below", "the name of"),
    f"decay={of('Truncated', distribution=S, below='rate')}": (
        "decay.below",
        "a parameter of quantity time; this one is number",
    ),
    f"rate={of('Truncated', distribution=U, below='amplitude')}": (
        "rate.below",
        "one value per sample; it has one per peak",
    ),
    # conditions
    f"decay={of('Conditional', given='snr', edges='[20]', cases=f'[{S}]')}": (
        "decay.cases",
        "one more than edges (2)",
    ),
    f"decay={of('Conditional', given='snr', edges='[20, 10]', cases=f'[{S}, {S}, {S}]')}": (
        "decay.edges[1]",
        "above the one before, 20",
    ),
    f"decay={of('Conditional', given='snr', given_unit='ms', edges='[20]', cases=f'[{S}, {S}]')}": (
        "decay.given_unit",
        "(number, as snr)",
    ),
    f"decay={of('Conditional', given='noise', edges='[20]', cases=f'[{S}, {S}]')}": (
        "decay.given",
        "another parameter: num_peaks, ",
    ),
    f"snr={of('Proportional', factor=S, to='rate')}": ("snr.factor.unit", "a factor has no unit"),
    f"snr={of('Proportional', factor=U, to='phase')}": ("snr.to", "one value per sample"),
    f"decay={of('Proportional', factor=U, to='phase')}": ("decay.to", "always above 0"),
    f"snr={of('Proportional', factor=0.5, to='nothing')}": ("snr.to", "another parameter"),
    # circles: two overrides at once
    f"snr={of('Proportional', factor=90, to='rate')}"
    f" rate={of('Truncated', distribution=U, below='snr')}": ("rate", "rate -> snr -> rate"),
    f"snr={of('Correlated', distribution=of('Uniform', low=5, high=9), correlation='{rate: 0.5}')}"
    f" rate={of('Correlated', distribution=U, correlation='{snr: 0.5}')}": (
        "rate",
        "rate -> snr -> rate",
    ),
    # correlations
    f"decay={of('Correlated', distribution=S, correlation='{amplitude: 1.5}')}": (
        "decay.correlation.amplitude",
        "above -1 and below 1",
    ),
    f"decay={of('Correlated', distribution=S, correlation='{}')}": (
        "decay.correlation",
        "at least",
    ),
    f"decay={of('Correlated', distribution=S, correlation='{size: 0.5}')}": (
        "decay.correlation.size",
        "another parameter",
    ),
    f"snr={of('Correlated', distribution=of('Uniform', low=5, high=9), correlation='{rate: 0.9}')}"
    f" num_peaks={of('Correlated', distribution=of('DiscreteUniform', low=1, high=3), correlation='{rate: 0.9, snr: -0.9}')}": (  # noqa: E501
        "num_peaks.correlation",
        "not positive definite",
    ),
    f"amplitude={of('Truncated', high=0.5, distribution=of('Correlated', distribution=U, correlation='{rate: 0.5}'))}": (  # noqa: E501
        "amplitude.distribution",
        "put Correlated outermost",
    ),
    # shares of regions
    f"amplitude={of('Emphasized', distribution=U, edges='[0.2]', shares='[0.5]')}": (
        "amplitude.shares",
        "one more than edges (2)",
    ),
    f"amplitude={of('Emphasized', distribution=U, edges='[0.2]', shares='[0.7, 0.7]')}": (
        "amplitude.shares",
        "of sum at most 1",
    ),
    f"amplitude={of('Emphasized', distribution=U, edges='[0.2]', shares='[1.2, 0]')}": (
        "amplitude.shares[0]",
        "at least 0 and at most 1",
    ),
    f"amplitude={of('Emphasized', distribution=U, edges='[7]', shares='[0.5, 0]')}": (
        "amplitude.edges[0]",
        "within the distribution",
    ),
    f"amplitude={of('Adaptive', distribution=U, edges='[0.2]', floor=0)}": (
        "amplitude.floor",
        "above 0 and at most 1",
    ),
    f"amplitude={of('Adaptive', distribution=U, edges='[0.2]', shares='[0.5, 0.6]')}": (
        "amplitude.shares",
        "of sum 1",
    ),
    f"amplitude={of('Adaptive', distribution=U, edges='[]')}": (
        "amplitude.edges",
        "a list of numbers",
    ),
    f"amplitude={of('Widened', distribution=U, factors='[-2]')}": (
        "amplitude.factors[0]",
        "above 0",
    ),
    f"amplitude={of('Widened', distribution=U, factors='[2, 1]')}": (
        "amplitude.edges",
        "one fewer",
    ),
    # curricula
    f"amplitude={of('Curriculum', start=U, end=U)}": ("amplitude.schedule", "Curriculum needs one"),
    f"amplitude={of('Curriculum', start=U, end=U, schedule='linear')}": (
        "amplitude.schedule",
        "a schedule: LinearSchedule",
    ),
    f"amplitude={of('Curriculum', start=U, end=U, schedule=of('LinearSchedule', end=0))}": (
        "amplitude.schedule.begin",
        "below end=0",
    ),
    f"amplitude={of('Curriculum', start=U, end=U, schedule=of('StepSchedule', at=-5))}": (
        "amplitude.schedule.at",
        "a finite number, at least 0",
    ),
    f"amplitude={of('Curriculum', start=U, end=U, schedule=of('PiecewiseSchedule', samples='[0, 9]', shares='[0, 2]'))}": (  # noqa: E501
        "amplitude.schedule.shares[1]",
        "at least 0 and at most 1",
    ),
    f"amplitude={of('Curriculum', start=U, end=S, schedule=LINE)}": ("amplitude.unit", "(number)"),
    # files
    f"amplitude={of('Empirical', path='FOLDER/none.csv')}": (
        "amplitude.path",
        "a file that exists",
    ),
    f"amplitude={of('Empirical', path='FOLDER/empty.csv')}": ("amplitude.path", "not empty"),
    f"amplitude={of('Empirical', path='FOLDER/header.csv')}": ("amplitude.path", "holds none"),
    f"amplitude={of('Empirical', path='FOLDER/words.csv')}": ("amplitude.path", "row 2 holds 'x'"),
    f"amplitude={of('Empirical', path='FOLDER/nan.npy')}": ("amplitude.path", "finite numbers"),
    f"amplitude={of('Empirical', path='FOLDER/negative.npy')}": (
        "amplitude",
        "support within [0, inf]",
    ),
    f"amplitude={of('Empirical', path='FOLDER/table.csv')}": (
        "amplitude.column",
        "0 to 1 or one of",
    ),
    f"amplitude={of('Empirical', path='FOLDER/notes.txt')}": ("amplitude.path", "ends in .csv"),
    f"amplitude={of('Empirical', path='FOLDER/good.npy', method='spline')}": (
        "amplitude.method",
        "one of histogram, kernel",
    ),
    f"amplitude={of('Empirical', path='FOLDER/good.npy', bandwidth=-1)}": (
        "amplitude.bandwidth",
        "above 0",
    ),
    f"amplitude={of('Empirical', path='FOLDER/good.npy', low=8, high=9)}": (
        "amplitude.path",
        "at least 2 different values from 8 to 9",
    ),
    f"amplitude={of('Empirical', path='FOLDER/good.npy', sha256='abc')}": (
        "amplitude.sha256",
        "which has changed",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    (folder / "empty.csv").write_text("")
    (folder / "header.csv").write_text("amplitude\n")
    (folder / "words.csv").write_text("amplitude\nx\n")
    (folder / "table.csv").write_text("a,b\n1,2\n3,4\n")
    (folder / "notes.txt").write_text("1\n")
    np.save(folder / "nan.npy", [1.0, np.nan])
    np.save(folder / "negative.npy", [-1.0, 2.0])
    np.save(folder / "good.npy", [0.1, 0.5, 1.0])
    return folder


def test_the_table_is_long_enough():
    assert len(TABLE) >= 40


@pytest.mark.parametrize("written", TABLE, ids=lambda text: re.sub(rf"{D}\.|_target_: ", "", text))
def test_a_malformed_configuration_gets_one_clear_line(written, folder, capsys):
    key, said = TABLE[written]
    words = re.split(r" (?=\w+=\{)", written)
    overrides = [_under_system(word).replace("FOLDER", str(folder)) for word in words]
    assert main(["preview", *overrides]) == BAD_CONFIG
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith(f"ipads-stream: system.{key}=")
    assert said in err
    assert len(err) < 700


def _under_system(word):
    mark = word[0] if word[0] in "+~" else ""
    return f"{mark}system.{word[len(mark) :]}"
