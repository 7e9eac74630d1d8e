"""Configuration: composed, checked, and never building what it must not."""

from __future__ import annotations

import sys
import textwrap

import pytest

from ipads_stream import load_system
from ipads_stream.config import compose, conf_dir, instantiate
from ipads_stream.core.description import config_hash, describe
from ipads_stream.core.errors import ConfigError
from ipads_stream.distributions import Constant, Uniform

SYSTEMS = sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_system_composes_and_round_trips(name):
    system = load_system(name)
    again = instantiate(describe(system), "system")
    assert again == system
    assert config_hash(again) == config_hash(system)


def test_overrides():
    system = load_system("dlnmr", ["rate=0.25", "points=64", "decay.high=50"])
    assert system.rate == Constant(value=0.25)
    assert system.points == 64
    assert system.decay.high == 50
    text = "decay={_target_: ipads_stream.distributions.LogUniform, low: 10, high: 90, unit: s}"
    assert load_system("dlnmr", [text]).decay.support == (10, 90)
    assert config_hash(load_system("dlnmr")) != config_hash(system)


def test_numbers_hash_alike_however_they_are_written():
    a, b = load_system("dlnmr", ["decay.low=20"]), load_system("dlnmr", ["decay.low=20.0"])
    assert config_hash(a) == config_hash(b)


BAD = [
    (["decay.low=300"], r"system\.decay\.low=300\.0: below high"),
    (["decay.low=abc"], r"system\.decay\.low='abc': a finite number"),
    (["decay.unit=Hz"], r"system\.decay\.unit='Hz'"),
    (["decay.unit=parsec"], r"system\.decay\.unit='parsec': one of"),
    (["decay.lo=3"], r"system\.decay\.lo=3: no such key; system\.decay has _target_, low, high"),
    (["+decay.lo=3"], r"system\.decay\.lo=3: no such key; Uniform has"),
    (["point=3"], r"system\.point=3: no such key; system has .*points.*did you mean points\?"),
    (["points=abc"], r"system\.points='abc': a whole number"),
    (["points=0"], r"system\.points=0"),
    (["points=1.5"], r"system\.points=1\.5"),
    (["dwell=0"], r"system\.dwell=0"),
    (["schedule=random"], r"system\.schedule='random': one of poisson_gap"),
    (["rate=0"], r"system\.rate"),
    (["rate=1.2"], r"system\.rate=.*support within \[0, 1\]"),
    (["rate=null"], r"system\.rate=None: a number or a distribution"),
    (["snr=0"], r"system\.snr"),
    (["num_peaks=2.5"], r"system\.num_peaks=.*whole numbers"),
    (["num_peaks.high=0"], r"system\.num_peaks\.low=1: at most high=0"),
    (["~decay"], r"system\.decay=None: a value; DLNMR needs one"),
    (["~decay._target_"], r"system\.decay=.*a number or a distribution"),
    (["decay=[1,2"], r"override="),
    (["decay={_target_: os.system, command: ls}"], r"system\.decay\._target_='os\.system'"),
    (["decay={_target_: ipads_stream.core.random.Keys}"], r"system\.decay\._target_"),
    (["decay={_target_: ipads_stream.distributions.normal.math}"], r"system\.decay\._target_"),
    (["decay={_target_: ipads_stream.distributions.univariate.np.save}"], r"\._target_"),
    (["decay={_target_: ipads_stream.distributions.nothing.Here}"], r"a name that exists"),
    (["decay={_target_: 5}"], r"system\.decay\._target_=5"),
]


@pytest.mark.parametrize(("overrides", "message"), BAD, ids=[line[0][0] for line in BAD])
def test_bad_configuration_names_the_dotted_key(overrides, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_system("dlnmr", overrides)
    assert "\n" not in str(error.value)


def test_a_package_that_cannot_be_imported_says_why(tmp_path, monkeypatch):
    (tmp_path / "brokenlab.py").write_text("import a_package_that_does_not_exist\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    text = "decay={_target_: brokenlab.Mine}"
    with pytest.raises(ConfigError, match="No module named 'a_package_that_does_not_exist'"):
        load_system("dlnmr", [text], trusted=["brokenlab"])
    text = "decay={_target_: nolab.Mine}"
    with pytest.raises(ConfigError, match="a name that exists"):
        load_system("dlnmr", [text], trusted=["nolab"])


def test_an_unknown_system_lists_the_known():
    with pytest.raises(ConfigError, match="dlnmr"):
        load_system("nothing")


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """A user's package with a distribution and a system YAML of their own."""
    (tmp_path / "mylab").mkdir()
    (tmp_path / "mylab" / "__init__.py").write_text(
        textwrap.dedent("""
        from dataclasses import dataclass
        from ipads_stream.distributions import Uniform

        @dataclass(frozen=True, kw_only=True)
        class Mine(Uniform):
            pass
        """)
    )
    (tmp_path / "conf" / "system").mkdir(parents=True)
    (tmp_path / "conf" / "system" / "mine.yaml").write_text(
        "defaults: [dlnmr, _self_]\ndecay: {_target_: mylab.Mine, low: 5, high: 6}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "conf"
    sys.modules.pop("mylab", None)


def test_a_package_must_be_trusted(own_package):
    with pytest.raises(ConfigError, match=r"decay\._target_='mylab\.Mine'.*listed under trusted"):
        load_system("mine", conf=own_package)
    assert "mylab" not in sys.modules  # refused before it is imported
    system = load_system("mine", conf=own_package, trusted=["mylab"])
    assert isinstance(system.decay, Uniform)
    assert system.decay.support == (5, 6)


def test_conf_must_be_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="conf"):
        load_system("dlnmr", conf=tmp_path / "nothing")


def test_every_primary_file_composes():
    for path in conf_dir().glob("*.yaml"):
        assert compose(name=path.stem)


def test_a_key_that_does_not_exist_at_the_top_is_named_with_those_that_do():
    with pytest.raises(
        ConfigError, match=r"^data='ubiquitin': no such key; train has seed, device"
    ):
        compose(["trainer=meta", "data=ubiquitin"])
    assert compose(["trainer=transfer", "data=ubiquitin"])["data"] == "ubiquitin"


def test_a_system_brings_what_it_is_best_trained_with_unless_told_otherwise():
    recommended = compose(["system=drone"])
    assert recommended["trainer"]["_target_"].endswith("Muon")
    assert recommended["stream"]["batch_size"] == 1024
    words = ["system=drone", "trainer=supervised", "net=drone_published", "stream.batch_size=8"]
    own = compose(words)
    assert own["trainer"]["_target_"].endswith("Supervised")
    assert own["net"]["_target_"].endswith(".Perceptron")
    assert own["stream"]["batch_size"] == 8
    assert compose(words[::-1]) == own


def test_a_system_of_ones_own_may_recommend_too(tmp_path):
    for group, text in {
        "system": "defaults: [dlnmr, _self_]\npoints: 64\n",
        "recommended": "# @package _global_\ndefaults: [override /net: modern]\n",
    }.items():
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(text)
    config = compose(["system=mine"], conf=tmp_path)
    assert config["system"]["points"] == 64
    assert config["net"]["_target_"].endswith("MoDern")
    (tmp_path / "recommended" / "mine.yaml").unlink()
    assert compose(["system=mine"], conf=tmp_path).get("net") is None


def test_the_form_that_system_files_had_before_is_named(tmp_path):
    (tmp_path / "system").mkdir()
    text = "# @package _global_\ndefaults: [dlnmr, _self_]\nsystem:\n  points: 64\n"
    (tmp_path / "system" / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match="no first line # @package _global_"):
        load_system("mine", conf=tmp_path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trainer.max_step=3"], r"trainer\.max_step=3: .*did you mean max_steps\?"),
        (["system=drome"], r"system='drome': one of .*did you mean drone\?"),
        (["trainer=supervisd"], r"trainer='supervisd': .*did you mean supervised\?"),
        (["sytem=dlnmr"], r"sytem='dlnmr': .*did you mean system\?"),
    ],
)
def test_a_word_that_is_nearly_right_gets_a_suggestion(words, message):
    with pytest.raises(ConfigError, match=message):
        compose(words)


def test_a_module_without_an_init_of_its_own_is_built():
    import torch

    class Plain(torch.nn.Module):
        def forward(self, predictions, sample):
            return {}

    sys.modules["plainlab"] = module = type(sys)("plainlab")
    Plain.__module__, Plain.__qualname__, module.Plain = "plainlab", "Plain", Plain
    try:
        assert isinstance(instantiate({"_target_": "plainlab.Plain"}, "loss", ["plainlab"]), Plain)
        with pytest.raises(ConfigError, match=r"loss\.size=3: no such key"):
            instantiate({"_target_": "plainlab.Plain", "size": 3}, "loss", ["plainlab"])
    finally:
        del sys.modules["plainlab"]


def test_objects_by_name_are_added_to_those_that_are_there():
    words = ["checkpoint=x", "baselines={mine: {_target_: mylab.make}, IST: null}"]
    assert compose(words, name="evaluate")["baselines"] == {
        "mine": {"_target_": "mylab.make"},
        "IST": None,
    }
    words = ["net=modern", "callbacks={mine: {_target_: mylab.Watch}}"]
    assert compose(words)["callbacks"].keys() == {"thresholds", "mine"}
