"""Somebody's own LightningModule on a stream: trains, validates, and resumes exactly."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from ipads_stream import ConfigError, Stream, load_system
from ipads_stream.train.lightning_data import StreamDataModule

STEPS = 17
pytestmark = pytest.mark.filterwarnings("ignore::Warning")


class Theirs(LightningModule):
    """A module that knows nothing of this package, with a scheduler and a random layer."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 32)
        )
        self.seen, self.held = [], []

    def loss(self, batch):
        target = batch.targets["spectrum"].real
        return (self.net(batch.inputs["fid"].real) - target).square().mean()

    def training_step(self, batch, batch_idx):
        loss = self.loss(batch)
        self.seen.append((batch.provenance.step, float(loss.detach())))
        self.log("train_loss", loss, batch_size=len(batch))
        return loss

    def validation_step(self, batch, batch_idx):
        self.held.append(float(self.loss(batch)))
        self.log("val_loss", self.held[-1], batch_size=len(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5, gamma=0.5)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def fit(folder, threads, *callbacks, resume=None, with_validation=True, **options):
    system = load_system("dlnmr", ["points=32"])
    made = {"batch_size": 4, "device": "cpu", "seed": 1}
    stream = Stream(system, threads=threads, **made)
    validation = Stream(system, split="validation", threads=0, **made)
    data = StreamDataModule(stream, validation if with_validation else None, val_samples=8)
    torch.manual_seed(0)
    module = Theirs()
    if with_validation:
        options = {"val_check_interval": 4, "check_val_every_n_epoch": None, **options}
    trainer = Trainer(
        max_steps=STEPS, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, accelerator="cpu", callbacks=list(callbacks),
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        default_root_dir=str(folder), **options,
    )  # fmt: skip
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return module


def every(folder, steps):
    return ModelCheckpoint(
        folder,
        filename="{step}",
        every_n_train_steps=steps,
        save_top_k=-1,
        save_on_train_epoch_end=False,
    )


LOOPS = {
    "endless": {},
    "epochs": {"limit_train_batches": 6, "max_epochs": -1},
    "no validation": {"with_validation": False},
}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize("options", LOOPS.values(), ids=LOOPS)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path, threads, options):
    whole = fit(tmp_path / "whole", threads, every(tmp_path / "kept", 3), **options)
    assert [step for step, _ in whole.seen] == list(range(STEPS))
    kept = sorted((tmp_path / "kept").glob("*.ckpt"), key=lambda p: int(p.stem.partition("=")[2]))
    assert [int(path.stem.partition("=")[2]) for path in kept] == [3, 6, 9, 12, 15]
    for path in kept:
        done = int(path.stem.partition("=")[2])
        resumed = fit(tmp_path / "resumed", threads, resume=path, **options)
        assert resumed.seen == whole.seen[done:]
        assert resumed.held == whole.held[len(whole.held) - len(resumed.held) :]


def by_age(folder):
    return sorted(folder.glob("*.ckpt"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("batches", [1, 2])
def test_checkpoints_of_validations_and_of_resumed_runs_go_on_exactly(tmp_path, batches):
    """Saved at the end of a validation, with gradients of several batches to a step."""

    def run(name, threads, **more):
        saving = ModelCheckpoint(tmp_path / name, monitor="val_loss", save_top_k=-1)
        return fit(tmp_path, threads, saving, accumulate_grad_batches=batches, **more)

    whole = run("whole", 2)
    kept = by_age(tmp_path / "whole")
    assert len(kept) > 3
    for path in (kept[0], kept[2]):
        resumed = run(f"resumed {path.stem}", 1, resume=path)
        assert 0 < len(resumed.seen) < len(whole.seen)
        assert resumed.seen == whole.seen[-len(resumed.seen) :]
        twice = run("twice", 0, resume=by_age(tmp_path / f"resumed {path.stem}")[0])
        assert 0 < len(twice.seen) < len(resumed.seen)
        assert twice.seen == whole.seen[-len(twice.seen) :]
        assert twice.held == whole.held[len(whole.held) - len(twice.held) :]


def test_a_checkpoint_of_an_interrupted_step_trains_on_its_batch_again(tmp_path):
    """What the optimizer has not seen is not counted, whoever saves in the middle of a step."""

    class Failing(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if batch_idx == 5:
                trainer.save_checkpoint(tmp_path / "middle.ckpt")
                raise RuntimeError("stopped")

    whole = fit(tmp_path, 1)
    with pytest.raises(RuntimeError, match="stopped"):
        fit(tmp_path, 1, Failing())
    assert fit(tmp_path, 1, resume=tmp_path / "middle.ckpt").seen == whole.seen[5:]


def test_a_second_fit_goes_on_where_the_first_ended(tmp_path):
    stream = Stream(load_system("dlnmr", ["points=32"]), batch_size=4, device="cpu", threads=2)
    data, seen = StreamDataModule(stream), []
    for _ in range(2):
        module = Theirs()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(max_steps=3, enable_checkpointing=False, accelerator="cpu", **quiet)
        trainer.fit(module, datamodule=data)
        seen += [step for step, _ in module.seen]
    assert seen == list(range(6))


def test_a_state_of_another_stream_is_refused(tmp_path):
    fit(tmp_path, 0, every(tmp_path, 8))
    system = load_system("dlnmr", ["points=32"])
    data = StreamDataModule(Stream(system, batch_size=4, device="cpu", seed=2, threads=0))
    trainer = Trainer(max_steps=STEPS, logger=False, enable_progress_bar=False, accelerator="cpu",
                      enable_model_summary=False, enable_checkpointing=False)  # fmt: skip
    with pytest.raises(ConfigError, match=r"state\.seed=1: 2, as this stream has"):
        trainer.fit(Theirs(), datamodule=data, ckpt_path=tmp_path / "step=8.ckpt")
