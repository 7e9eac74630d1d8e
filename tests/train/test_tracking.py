"""Loggers and callbacks by configuration, what they are given, and what is refused."""

from __future__ import annotations

import csv
import json
import logging
import re

import pytest
import torch
from lightning.pytorch.loggers import Logger

from ipads_stream.__main__ import main
from ipads_stream.config import instantiate
from ipads_stream.core.files import from_json
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.tracker import WandB, build_logger, log_evaluation


def rows(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def words(small):
    validated = ["trainer.max_steps=4", "trainer.val_every=2", "trainer.val_samples=16"]
    kept = [word for word in small if word.partition("=")[0] not in
            ("logger", "trainer.max_steps", "trainer.val_every")]  # fmt: skip
    return [*kept, *validated]


def test_wandb_gets_pictures_gradients_and_the_checkpoint(tmp_path, words, monkeypatch):
    import wandb

    kept, images, filed_as = [], [], set()
    monkeypatch.setattr(
        wandb.Run, "log_artifact", lambda run, path, name, type: kept.append((path, type))
    )
    log = wandb.Run.log

    def logged(run, row, **more):
        images.extend(row)
        filed_as.add((run.name, run.notes, run.group, run.tags))
        log(run, row, **more)

    monkeypatch.setattr(wandb.Run, "log", logged)
    run = tmp_path / "a run (1)"
    filed = ["logger.tags=[a,b]", "logger.group=g", "logger.notes=of a test", "logger.name=named"]
    assert main(["train", *words, "logger=wandb", *filed, f"output={run}"]) == 0
    assert kept == [(str(run / "run.ckpt"), "model")]
    assert images.count("samples") == 1 and images.count("predictions") == 2
    assert {"gradient_norm", "loss", "val/loss"} <= set(images)
    (offline,) = run.glob("wandb/offline-run-*")
    pictures = [path.name for path in (offline / "files" / "media" / "images").iterdir()]
    assert sum(name.startswith("predictions") for name in pictures) == 2
    assert filed_as == {("named", "of a test", "g", ("a", "b"))}
    assert all(row["gradient_norm"] > 0 for row in rows(run) if "loss" in row)
    assert (run / "samples.png").stat().st_size > 1000


def test_what_wandb_is_given_can_be_switched_off(tmp_path, words):
    run = tmp_path / "run"
    off = ["logger.pictures=0", "logger.gradients=false", "logger.checkpoint=false"]
    assert main(["train", *words, "logger=wandb", *off, f"output={run}"]) == 0
    assert not list(run.glob("*.png")) and not list(run.rglob("media"))
    assert not [row for row in rows(run) if "gradient_norm" in row]


def test_an_evaluation_leaves_its_table_and_report(tmp_path):
    page = tmp_path / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("<p>a report</p>")
    table = [{"method": "network", "error": 0.1}, {"method": "fit", "error": 0.2, "rate": 0.5}]
    log_evaluation(WandB(), {"seed": 0}, tmp_path, table, page)
    (offline,) = tmp_path.glob("wandb/offline-run-*")
    media = [path for path in offline.rglob("*") if path.is_file()]
    assert any(path.read_text() == "<p>a report</p>" for path in media if path.suffix == ".html")
    (written,) = (
        json.loads(path.read_text()) for path in media if path.name.endswith("table.json")
    )
    assert written["columns"] == ["method", "error", "rate"]
    assert written["data"] == [["network", 0.1, None], ["fit", 0.2, 0.5]]
    log_evaluation(None, {}, tmp_path / "other", table, page)
    assert not (tmp_path / "other").exists()


def test_csv_logs_beside_the_json_lines(tmp_path, words):
    run = tmp_path / "run"
    assert main(["train", *words, "logger=csv", f"output={run}"]) == 0
    with (run / "csv" / "version_0" / "metrics.csv").open() as file:
        logged = {int(row["step"]): row["loss"] for row in csv.DictReader(file) if row["loss"]}
    assert logged == {row["step"]: str(row["loss"]) for row in rows(run) if "loss" in row}


def test_tensorboard_gets_numbers_and_pictures(tmp_path, words):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    drawn = "+callbacks.pictures._target_=ipads_stream.train.pictures.Pictures"
    assert main(["train", *words, "logger=tensorboard", drawn, f"output={run}"]) == 0
    events = EventAccumulator(str(run / "tensorboard" / "version_0"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [0, 1, 2, 3]
    assert len(events.Images("predictions")) == 2 and len(events.Images("samples")) == 1


def test_callbacks_by_name_and_the_package_s_and_lightning_s(tmp_path, words):
    run = tmp_path / "run"
    stop = ("+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, "
            "monitor: val/loss, patience: 0, min_delta: 9.0}")  # fmt: skip
    kept = ("+callbacks.kept={_target_: lightning.pytorch.callbacks.ModelCheckpoint, "
            f"every_n_train_steps: 1, save_top_k: -1, dirpath: '{run / 'kept'}'}}")  # fmt: skip
    norm = "+callbacks.norm._target_=ipads_stream.train.callbacks.GradientNorm"
    more = ["logger=none", stop, kept, norm, "trainer.max_steps=40"]
    assert main(["train", *words, *more, f"output={run}"]) == 0
    logged = [row for row in rows(run) if "loss" in row]
    assert [row["step"] for row in logged] == [0, 1, 2, 3]  # the second validation is no better
    assert all("gradient_norm" in row for row in logged)
    assert len(list((run / "kept").glob("*.ckpt"))) == 4
    again = tmp_path / "again"
    off = ["logger=none", "+callbacks.norm=null", f"output={again}"]
    assert main(["train", *words, *off]) == 0
    assert not [row for row in rows(again) if "gradient_norm" in row]


class Counting(Logger):
    """A logger of somebody's own."""

    name, version, logged = "counting", "", []

    def log_hyperparams(self, *args):
        pass

    def log_metrics(self, metrics, step=None):
        self.logged.append(step)


def build(node, key, packages):
    return instantiate(node, key, (__name__.partition(".")[0], *packages))


def test_a_logger_of_a_trusted_package(tmp_path):
    logger = build_logger({"_target_": f"{__name__}.Counting"}, build, tmp_path)
    assert isinstance(logger, Counting)
    assert build_logger({}, build, tmp_path) is None


BAD = [
    (["logger=csv", "logger.entity=me"], r"logger\.entity='me': no such key"),
    (["+logger.entity=me"], r"logger\.entity|logger="),
    (["logger=wandb", "+logger.colour=red"], r"logger\.colour='red': no such key; WandB"),
    (["logger=wandb", "logger.tags=a"], r"logger\.tags='a': a list of tags"),
    (["logger=wandb", "logger.entity=3"], r"logger\.entity=3: text, or null"),
    (["logger=wandb", "logger.pictures=-1"], r"logger\.pictures=-1"),
    (["+logger._target_=os.system"], r"logger\._target_='os\.system': a class in"),
    (["+logger._target_=lightning.pytorch.callbacks.Timer"], r"logger\._target_"),
    (["+callbacks.x._target_=os.system"], r"callbacks\.x\._target_='os\.system'"),
    (["+callbacks.x._target_=ipads_stream.train.muon.Muon", "+callbacks.x.max_steps=1"],
     r"callbacks\.x=.*a callback of Lightning's"),
    (["stream.echo=2"], r"stream\.echo=2: no such key; it is now stream\.repeat"),
    (["+stream.echo=2"], r"stream\.echo=2: no such key; it is now stream\.repeat"),
    (["+stream.speed=2"], r"stream\.speed=2: no such key; stream has device, batch_size"),
]  # fmt: skip


@pytest.mark.parametrize(("more", "message"), BAD, ids=[" ".join(more) for more, _ in BAD])
def test_what_is_refused_is_named(tmp_path, small, capsys, more, message):
    assert main(["train", *small, *more, f"output={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_logger_that_is_not_installed_is_named(tmp_path, small, capsys, monkeypatch):
    from lightning.pytorch.loggers import mlflow

    monkeypatch.setattr(mlflow, "_MLFLOW_AVAILABLE", False)
    monkeypatch.setattr(mlflow, "_MLFLOW_SKINNY_AVAILABLE", False, raising=False)
    assert main(["train", *small, "logger=mlflow", f"output={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert "MLFlowLogger': a logger whose package is installed" in error
    assert error.count("\n") == 1


def test_config_json_is_plain_json(tmp_path, small):
    run = tmp_path / "run"
    words = [*small, "trainer.max_steps=1", "trainer.clip=.inf", f"output={run}"]
    assert main(["train", *words]) == 0
    text = (run / "config.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["trainer"]["clip"] == ".inf"
    assert from_json(text) == read_checkpoint(run / "run.ckpt")["config"]


def test_a_run_of_an_earlier_version_goes_on_under_todays_names(tmp_path, small, losses, caplog):
    run = tmp_path / "run"
    words = [*small, "stream.repeat=3", "trainer.max_steps=5"]
    assert main(["train", *words, f"output={run}"]) == 0
    path = run / "run.ckpt"
    content = torch.load(path, weights_only=True)
    kept = content["ipads_stream"]
    for node in (kept["config"]["stream"], kept["stream"]):
        node["echo"] = node.pop("repeat")
    kept["config"]["overrides"] = [
        word.replace("stream.repeat", "stream.echo") for word in kept["config"]["overrides"]
    ]
    del content["loops"]["fit_loop"]["state_dict"]["combined_loader"], kept["config"]["callbacks"]
    torch.save(content, path)
    with caplog.at_level(logging.WARNING):
        assert main(["train", f"resume={path}", "trainer.max_steps=6"]) == 0
    assert "stream.echo=3 is now stream.repeat" in caplog.messages
    assert sorted(losses(run)) == list(range(6))
    after = read_checkpoint(path)["stream"]
    assert (after["step"], after["repeat"]) == (6, 3) and "echo" not in after
