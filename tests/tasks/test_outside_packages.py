"""Systems of somebody else's packages train, are evaluated, shown and replayed."""

import json

import numpy as np
import pytest
from forked_command import Command
from outside import EXAMPLES, FEW

from ipads_stream import Stream, load_system
from ipads_stream.__main__ import main
from ipads_stream.testing import check_system

KINDS = {
    "t2_mapping": ("quantities", "T2", {"log-linear fit", "nonlinear fit"}, "log_rmse"),
    "parallel_imaging": ("images", "image", {"zero-filling", "CG-SENSE"}, "ssim"),
    "displacement": ("vectors", "displacement", {"phase", "unwrapped phase"}, "epe"),
}


@pytest.fixture(params=KINDS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def reports(runs, tmp_path_factory):
    """name -> folder of the report on its run; evaluated when it is first asked for."""
    made = {}

    def report(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(f"report_{name}")
            words = [f"checkpoint={runs(name) / 'run.ckpt'}", f"trusted=[{name}]", "device=cpu"]
            assert main(["evaluate", *words, "samples=4", f"output={made[name]}"]) == 0
        return made[name]

    return report


@pytest.mark.slow
def test_is_evaluated_beside_its_baselines(name, reports):
    task, target, baselines, score = KINDS[name]
    results = json.loads((reports(name) / "results.json").read_text())
    assert results["task"] == task
    rows = [row for row in results["scores"] if row["method"] in {"network", *baselines}]
    assert {row["method"] for row in rows} == {"network", *baselines}
    assert all(row[score] is not None for row in rows)
    assert set(results["network_over"][target]) == baselines
    page = (reports(name) / "report.html").read_text()
    assert page.count("<img") >= 3
    assert all(word in page for word in (*baselines, f"{target}: the network&#x27;s"))


@pytest.mark.slow
def test_is_previewed(name, outside, tmp_path, capsys):
    words = [f"conf={outside / name / 'conf'}", f"trusted=[{name}]", f"system={name}"]
    words += [word for word in FEW[name] if word.startswith("system.")]
    assert main(["preview", *words, "samples=2", f"output={tmp_path}"]) == 0
    assert (tmp_path / "samples.png").stat().st_size > 1000
    assert (tmp_path / "parameters.png").is_file()


@pytest.mark.slow
def test_samples_of_its_evaluation_are_replayed(name, runs, reports, tmp_path):
    log = reports(name) / "samples.jsonl"
    words = [f"run={runs(name)}", f"trusted=[{name}]", f"log={log}", "worst=2"]
    assert main(["replay", *words, f"output={tmp_path}"]) == 0
    assert len(list(tmp_path.glob("*.npz"))) == 2
    line = json.loads(log.read_text().splitlines()[0])
    assert set(line["errors"]) == {"network", *KINDS[name][2]}


def test_keeps_the_contract_of_systems(name, outside):
    system = small(name, outside)
    report = check_system(system, count=3, images=IMAGES[name](system), forward_params=MAPS[name])
    assert "measured images become inputs" in report.checked
    assert "baselines answer with the shape of the targets" in report.checked
    assert "gradients of forward are its differences" in report.checked


def test_a_file_of_the_users_function_is_run_only_if_trusted(outside, capsys):
    words = [f"conf={outside / 't2_mapping' / 'conf'}", "system=t2_mapping"]
    assert main(["preview", *words]) == 2
    assert "system._target_='t2_mapping.system.T2Mapping'" in capsys.readouterr().err


def test_what_a_system_keeps_is_not_handed_out(outside):
    system = small("parallel_imaging", outside)
    before = system.sensitivities.copy()
    sample = Stream(system, device="cpu", threads=0).sample([0])
    sample.inputs["sensitivities"].zero_()
    assert np.array_equal(system.sensitivities, before)


def small(name, outside):
    changes = [word.removeprefix("system.") for word in FEW[name] if word.startswith("system.")]
    return load_system(name, changes, conf=outside / name / "conf", trusted=[name])


def echoes(system):
    TE = np.asarray(system.TE)
    return np.exp(-TE / np.linspace(0.03, 0.2, 6)[:, None]).reshape(2, 3, -1), TE


def coils(system):
    from parallel_imaging.encoding import encode

    image = np.zeros((1, system.matrix, system.matrix), np.complex64)
    image[:, 10:-10, 12:-12] = 1
    mask = np.ones(image.shape, bool)
    kspace = encode(image, system.sensitivities[None], mask)[0]
    return np.moveaxis(kspace, 0, -1), None


def encoded(system):
    ones = np.ones((system.matrix, system.matrix, 3), np.complex64)
    return ones * np.exp(1j * np.array([0.0, 0.3, -0.2])).astype(np.complex64), None


def image_of(sample):
    inputs = sample.inputs
    return {"image": sample.targets["image"], "sensitivities": inputs["sensitivities"],
            "mask": inputs["mask"]}  # fmt: skip


def motion_of(sample):
    return {
        "displacement": sample.targets["displacement"],
        "reference": sample.inputs["images"][:, 0],
    }


MAPS = {"t2_mapping": None, "parallel_imaging": image_of, "displacement": motion_of}
IMAGES = {"t2_mapping": echoes, "parallel_imaging": coils, "displacement": encoded}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_the_command_of_its_readme_runs_in_a_process_of_its_own(name, tmp_path):
    words = [f"conf={name}/conf", f"trusted=[{name}]", f"system={name}", f"output={tmp_path}/run"]
    words += [*FEW[name], "device=cpu", "logger=none", "trainer.bar=false"]
    process = Command(["train", *words], tmp_path, cwd=EXAMPLES)
    _, text = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert (tmp_path / "run" / "run.ckpt").is_file()


def test_a_quantity_with_an_existing_network_takes_few_lines():
    files = [
        path for path in (EXAMPLES / "t2_mapping").rglob("*") if path.suffix in (".py", ".yaml")
    ]
    assert len(files) <= 4
    assert sum(len(path.read_text().splitlines()) for path in files) <= 350
