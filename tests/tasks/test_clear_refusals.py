"""What somebody gets wrong in a first system of one's own ends in one line that says what."""

import pytest
import torch

from ipads_stream.__main__ import main
from ipads_stream.train.checkpoint import EXTRA


def train(output, system="Voxels"):
    words = [
        f"system={{_target_: toy_voxels.{system}}}", "net={_target_: toy_voxels.Net}",
        "loss={_target_: toy_voxels.Square}", "trusted=[toy_voxels]", "logger=none",
        "device=cpu", "stream.batch_size=8", "trainer.max_steps=3", "trainer.val_every=0",
        "trainer.bar=false", f"output={output}",
    ]  # fmt: skip
    return main(["train", *words])


def evaluate(run, *words):
    base = [f"checkpoint={run / 'run.ckpt'}", "trusted=[toy_voxels]", "device=cpu", "samples=4"]
    return main(["evaluate", *base, f"output={run / 'report'}", *words])


def refusal(capsys):
    """The one line on stderr that begins with the program's name; no traceback."""
    text = capsys.readouterr().err
    assert "Traceback" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("ipads-stream: ")]
    return line


def test_a_prediction_of_another_shape_than_its_target_is_not_trained(tmp_path, capsys):
    assert train(tmp_path, "Trailing") == 2
    line = refusal(capsys)
    assert "T2" in line and "(8,)" in line and "(8, 1)" in line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voxels") / "run"
    assert train(folder) == 0
    return folder


def changed(run, folder, **targets):
    """The run with other classes in its configuration, as if they had been trained."""
    content = torch.load(run / "run.ckpt", weights_only=True)
    for key, name in targets.items():
        content[EXTRA]["config"][key]["_target_"] = f"toy_voxels.{name}"
    torch.save(content, folder / "run.ckpt")
    return folder


@pytest.mark.parametrize(
    ("system", "words"),
    [
        ("Untasked", ("names no task", "quantities, signals, spectra, images, vectors")),
        ("Unknown", ("system.task='quantitys'", "quantities")),
        ("Foreign", ("system.task='os.path.join'", "trusted")),
        ("Unquantified", ("kind and quantities",)),
        ("Kindless", ("kind",)),
        ("Misnamed", ("T1",)),
        ("Spectra", ("components and ppm",)),
        ("Vectors", ("kind and quantities",)),
        ("Images", ("target image",)),
    ],
)
def test_a_system_that_cannot_be_asked_is_refused_by_name(system, words, run, tmp_path, capsys):
    assert evaluate(changed(run, tmp_path, system=system)) == 2
    line = refusal(capsys)
    assert all(word in line for word in words), line


def test_a_network_without_outputs_in_its_yaml_is_evaluated(run, capsys):
    assert evaluate(run) == 0
    assert "T2: the network's log-RMSE" in capsys.readouterr().out


def test_a_network_that_estimates_something_else_is_refused(run, tmp_path, capsys):
    assert evaluate(changed(run, tmp_path, net="Wordless")) == 2
    line = refusal(capsys)
    assert "T3" in line and "T2" in line


@pytest.mark.parametrize(
    ("method", "words"),
    [("two_columns", ("(4, 2)", "(4,)")), ("another", ("T1", "T2")), ("absent", ("absent",))],
)
def test_a_baseline_that_does_not_fit_is_refused_by_name(method, words, run, capsys):
    target = f"+baselines={{mine: {{_target_: toy_voxels.{method}}}}}"
    assert evaluate(run, target) == 2
    line = refusal(capsys)
    assert "mine" in line
    assert all(word in line for word in words), line


def test_a_baseline_of_ones_own_is_compared(run, capsys):
    assert evaluate(run, "+baselines={mine: {_target_: toy_voxels.fine}}") == 0
    assert "mine" in capsys.readouterr().out


@pytest.mark.parametrize("key", ["rates=[0.25]", "mode=states"])
def test_a_key_of_another_task_is_refused_by_name(key, run, capsys):
    assert evaluate(run, key) == 2
    assert f"{key.partition('=')[0]}=" in refusal(capsys)


def test_a_task_of_ones_own_needs_trust(run, capsys):
    assert main(["evaluate", f"checkpoint={run / 'run.ckpt'}"]) == 2
    assert "toy_voxels" in refusal(capsys)
