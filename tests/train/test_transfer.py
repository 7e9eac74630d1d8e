"""Transfer: what is mixed, frozen, slowed down and kept; runs on shifted and measured samples."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import fields

import numpy as np
import pytest
import torch
from forked_torchrun import Torchrun

from ipads_stream import ConfigError, Stream, load_model, load_system
from ipads_stream.__main__ import main
from ipads_stream.config import build_run, compose
from ipads_stream.core.random import Keys
from ipads_stream.physics.spectroscopy.spectrum import spectrum
from ipads_stream.stream.mixing import Mixed, Shuffled
from ipads_stream.train.callbacks import Interrupt
from ipads_stream.train.checkpoint import read_checkpoint
from ipads_stream.train.measured_rows import MeasuredRows, measured_signals, usable_rows
from ipads_stream.train.run import train_run
from ipads_stream.train.transfer import Transfer, layers_of

FRESH = ("rate", "mask")


@pytest.fixture(scope="module")
def system():
    return load_system("dlnmr", ["points=32"])


@pytest.fixture(scope="module")
def shifted():
    return load_system("dlnmr", ["points=32", "rate=0.25", "num_peaks=2"])


def mixed(system, shifted, count, batch_size, few=5):
    real = Shuffled(system=shifted, num_samples=few, fresh=FRESH)
    return Mixed(synthetic=system, real=real, count=count, batch_size=batch_size)


# Mixing


@pytest.mark.parametrize(("count", "size"), [(0, 8), (1, 8), (3, 8), (8, 8), (5, 12), (1, 1)])
def test_every_batch_holds_exactly_so_many_real_samples(system, shifted, count, size):
    mixture = mixed(system, shifted, count, size)
    for start in (0, 5 * size, 10**15 * size, (2**62 // size) * size):
        is_real = mixture.is_real(np.arange(start, start + size, dtype=np.uint64))
        assert is_real.sum() == count
    stream = Stream(mixture, batch_size=size, device="cpu")
    for step in (0, 7):
        assert stream.batch(step).params["is_real"].sum() == count


def test_ranks_share_real_samples_evenly(system, shifted):
    mixture = mixed(system, shifted, 4, 16)
    shares = [
        Stream(mixture, batch_size=16, rank=rank, world_size=4, device="cpu").batch(3)
        for rank in range(4)
    ]
    assert [int(share.params["is_real"].sum()) for share in shares] == [1, 1, 1, 1]
    whole = Stream(mixture, batch_size=16, device="cpu").batch(3)
    parts = torch.cat([share.inputs["fid"] for share in shares])
    assert torch.equal(parts, whole.inputs["fid"])


def test_both_parts_are_the_samples_of_their_systems_in_turn(system, shifted):
    found = Stream(mixed(system, shifted, 3, 8), seed=4, device="cpu").sample(range(16))
    is_real = found.params["is_real"]
    plain = Stream(system, seed=4, split="train/synthetic", device="cpu").sample(range(10))
    few = Shuffled(system=shifted, num_samples=5, fresh=FRESH)
    real = Stream(few, seed=4, split="train/real", device="cpu").sample(range(6))
    for group in ("inputs", "targets"):
        for name, values in getattr(found, group).items():
            assert torch.equal(values[~is_real], getattr(plain, group)[name])
            assert torch.equal(values[is_real], getattr(real, group)[name])
    assert np.array_equal(found.params["synthetic.amplitude"][~is_real], plain.params["amplitude"])
    assert np.array_equal(found.params["real.rate"][is_real], real.params["rate"])
    assert not found.params["real.rate"][~is_real].any()


def test_a_mixed_sample_does_not_depend_on_its_batch(system, shifted):
    stream = Stream(mixed(system, shifted, 3, 8), batch_size=8, device="cpu", threads=2)
    whole = stream.sample(range(24))
    batches = [batch for _, batch in zip(range(3), stream, strict=False)]
    assert torch.equal(torch.cat([b.inputs["fid"] for b in batches]), whole.inputs["fid"])
    for index in (0, 2, 23):  # alone, a sample of one kind
        assert torch.equal(stream.sample([index]).inputs["fid"][0], whole.inputs["fid"][index])


def test_nonfinite_samples_of_a_mixture_are_substituted_by_their_own_kind(system, shifted):
    class Broken(type(shifted)):
        def render(self, params, keys, xp):
            sample = super().render(params, keys, xp)
            if "substitute" not in keys.split:
                sample.inputs["fid"][keys.indices == 1] = np.nan
            return sample

    broken = Broken(**{field.name: getattr(shifted, field.name) for field in fields(shifted)})
    mixture = Mixed(synthetic=system, real=broken, count=2, batch_size=8)
    stream = Stream(mixture, batch_size=8, on_nonfinite="substitute", device="cpu")
    batch = stream.batch(0)
    bad = int(np.flatnonzero(mixture.is_real(np.arange(8, dtype=np.uint64)))[1])
    assert batch.provenance.substituted.tolist() == [row == bad for row in range(8)]
    assert batch.params["is_real"].sum() == 2
    assert torch.isfinite(torch.view_as_real(batch.inputs["fid"])).all()


def test_a_pass_through_few_samples_uses_each_once_in_a_keyed_order(shifted):
    few = Shuffled(system=shifted, num_samples=7, fresh=FRESH)
    places = few.places(Keys(0, "train", np.arange(70))).reshape(10, 7)
    assert np.all(np.sort(places, axis=1) == np.arange(7))
    assert len(np.unique(places, axis=0)) == 10
    assert np.array_equal(few.places(Keys(0, "train", np.array([23, 5]))), places.ravel()[[23, 5]])
    found = Stream(few, device="cpu").sample(range(70))
    base = Stream(shifted, device="cpu").sample(range(7))
    assert torch.equal(found.targets["spectrum"], base.targets["spectrum"][places.ravel()])
    masks = found.inputs["mask"].numpy()
    assert len(np.unique(masks, axis=0)) > 60  # schedules are new each time
    kept = Shuffled(system=shifted, num_samples=7)
    masks = Stream(kept, device="cpu").sample(range(70)).inputs["mask"]
    assert torch.equal(masks, base.inputs["mask"][kept.places(Keys(0, "train", np.arange(70)))])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a, b: mixed(a, b, 9, 8), r"count=9: 0 to batch_size=8"),
        (lambda a, b: mixed(a, b, -1, 8), r"count=-1"),
        (lambda a, b: mixed(a, b, 0.5, 8), r"count=0\.5"),
        (lambda a, b: Shuffled(system=a, num_samples=0), r"num_samples=0"),
        (
            lambda a, b: Shuffled(system=a, num_samples=2, fresh=("coil",)),
            r"fresh='coil': draws of",
        ),
    ],
)
def test_bad_mixtures_are_refused(system, shifted, make, message):
    with pytest.raises(ConfigError, match=message):
        make(system, shifted)


def test_signals_of_another_length_do_not_mix(system):
    longer = load_system("dlnmr", ["points=48"])
    mixture = Mixed(synthetic=system, real=longer, count=2, batch_size=4)
    with pytest.raises(Exception, match=r"real\.inputs='fid \(48,\).*as the synthetic ones"):
        Stream(mixture, batch_size=4, device="cpu").batch(0)


# Measured rows


def signals(rows=60, points=32, seed=0):
    """Noisy decaying lines, and among them rows of faint noise alone."""
    random = np.random.default_rng(seed)
    n = np.arange(points)
    lines = np.exp((2j * np.pi * random.uniform(0, 1, (rows, 1)) - 0.03) * n)
    lines[::3] = 0
    noise = random.normal(size=(rows, points)) + 1j * random.normal(size=(rows, points))
    return 1e6 * (lines + 0.002 * noise)


def test_measured_rows_are_undersampled_rows(system):
    rows = usable_rows(signals())
    assert len(rows) == 40  # those that hold a line
    real = MeasuredRows(signals=rows, rate=system.rate, schedule=system.schedule)
    found = Stream(real, device="cpu").sample(range(45))
    assert found.params["row"].tolist() == [*range(40), *range(5)]
    mask = found.inputs["mask"]
    full = rows[found.params["row"]]
    full = full / np.abs(full).max(1, keepdims=True)
    assert np.allclose(found.inputs["fid"], np.where(mask, full, 0), atol=1e-6)
    assert np.allclose(found.targets["spectrum"], spectrum(full), atol=1e-5)
    shown = mask.sum(1).numpy()
    assert np.array_equal(shown, np.clip(np.rint(found.params["rate"] * 32), 1, 32))
    assert not torch.equal(mask[0], mask[40])


@pytest.mark.parametrize("bad", [np.zeros((4, 8), complex), np.ones((4, 8)), np.ones(8, complex),
                                 np.full((4, 8), np.nan + 0j)])  # fmt: skip
def test_unusable_signals_are_refused(bad):
    with pytest.raises(ConfigError, match=r"^data="):
        usable_rows(bad)


# Layers


def net():
    return torch.nn.ModuleDict(
        {
            "stem": torch.nn.Linear(2, 2),
            "blocks": torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3)),
            "head": torch.nn.Linear(2, 1, bias=False),
        }
    )


def test_layers_are_slowed_down_by_their_depth():
    names = [[name.rpartition(".")[0] for name in layer] for layer in layers_of(net())]
    assert [set(layer) for layer in names] == [
        {"stem"}, {"blocks.0"}, {"blocks.1"}, {"blocks.2"}, {"head"},
    ]  # fmt: skip
    trainer = Transfer(layer_decay=0.5, max_steps=1)
    model = net()
    model["blocks"][1].requires_grad_(False)
    groups = trainer.optimizer(model).param_groups
    assert [group["scale"] for group in groups] == [1, 0.5, 0.125, 0.0625]
    assert groups[0]["params"][0] is model["head"].weight
    assert groups[2]["params"][0] is model["blocks"][0].weight
    assert sum(len(group["params"]) for group in groups) == 7


# Runs

TRANSFER = "trainer=transfer"
TARGET = "trainer.target={rate:0.25,num_peaks:2}"


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    run = tmp_path_factory.mktemp("pretrained") / "run"
    assert main(["train", *SMALL, f"output={run}"]) == 0
    return run / "run.ckpt"


SMALL = [
    "logger=none", "trainer.bar=false", "trainer.max_steps=24", "trainer.val_every=0",
    "system.points=32", "stream.batch_size=8", "net.phases=2", "net.growth=4", "net.memory=2",
]  # fmt: skip


def words(pretrained, *more):
    quick = ["trainer.max_steps=12", "trainer.val_every=3", "trainer.samples=5"]
    return [TRANSFER, *SMALL, *quick, f"checkpoint={pretrained}", *more]


def held(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["val/loss"] for row in rows if "val/loss" in row}


def test_fine_tuning_freezes_slows_down_and_keeps_the_best(tmp_path, pretrained, losses):
    run = tmp_path / "run"
    more = [TARGET, "trainer.freeze=[blocks.0.*]", "trainer.real_share=0.25", "trainer.patience=0"]
    more += ["trainer.layer_decay=0.5", "trainer.warmup=0"]
    assert main(["train", *words(pretrained, *more), f"output={run}"]) == 0
    assert sorted(losses(run)) == list(range(12))
    before, last = (read_checkpoint(path)["weights"] for path in (pretrained, run / "run.ckpt"))
    for name in before:
        assert torch.equal(before[name], last[name]) == name.startswith("blocks.0."), name
    course = held(run)
    assert len(course) == 5  # the start, and four times
    best = read_checkpoint(run / "best.ckpt")
    lowest = min(course, key=course.get)
    assert best["steps"] == (0 if lowest == 0 else lowest + 1)
    assert load_model(run / "best.ckpt") is not None


def test_without_samples_the_start_is_validated_and_kept(tmp_path, pretrained, losses):
    run = tmp_path / "run"
    assert main(["train", *words(pretrained, TARGET, "trainer.samples=0"), f"output={run}"]) == 0
    assert losses(run) == {}
    assert list(held(run)) == [0]
    before = read_checkpoint(pretrained)["weights"]
    for name in ("run.ckpt", "best.ckpt"):
        after = read_checkpoint(run / name)["weights"]
        assert all(torch.equal(before[n], after[n]) for n in before)
    other = tmp_path / "other"
    assert main(["train", *words(pretrained, TARGET), f"output={other}"]) == 0
    assert held(other)[0] == held(run)[0]  # the same held-out samples, whatever is trained on


def test_a_run_that_gets_no_better_stops(tmp_path, pretrained, losses):
    run = tmp_path / "run"
    more = [TARGET, "trainer.learning_rate=1", "trainer.warmup=0", "trainer.patience=2"]
    assert main(["train", *words(pretrained, *more), f"output={run}"]) == 0
    assert len(losses(run)) == 6
    assert read_checkpoint(run / "best.ckpt")["steps"] == 0


def test_a_transfer_run_resumes_bit_for_bit(tmp_path, pretrained, losses, monkeypatch):
    base = words(pretrained, TARGET, "trainer.real_share=0.5")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["train", *base, f"output={whole}"]) == 0
    with monkeypatch.context() as patch:
        _stop_after(patch, 5)
        assert main(["train", *base, f"output={parts}"]) == 130
    assert len(losses(parts)) == 5
    assert main(["train", f"resume={parts / 'run.ckpt'}"]) == 0
    assert losses(parts) == losses(whole)
    assert held(parts) == held(whole)
    for name in ("run.ckpt", "best.ckpt"):
        a, b = (read_checkpoint(run / name) for run in (whole, parts))
        assert a["steps"] == b["steps"]
        assert all(torch.equal(a["weights"][n], b["weights"][n]) for n in a["weights"])


def _stop_after(patch, steps):
    original = Interrupt.on_train_batch_end

    def on_train_batch_end(callback, trainer, *rest):
        if trainer.global_step >= steps:
            signal.raise_signal(signal.SIGINT)
        original(callback, trainer, *rest)

    patch.setattr(Interrupt, "on_train_batch_end", on_train_batch_end)


def fine_tune(rows, line, output):
    """A run on measured signals that are written to a file."""
    path = output.with_name(f"{output.name}-signals.npy")
    np.save(path, rows)
    config = compose([*line, f"data={path}", f"output={output}"])
    config["overrides"] = []
    assert train_run(build_run(config)) == (True, output)


class Given:
    """Real samples of somebody's own: rows that are given."""

    def __init__(self, rows):
        self.rows = rows

    def parts(self, system, *, seed, train, held, is_mixed):
        parts = self.rows[held : held + train], self.rows[:held]
        return tuple(MeasuredRows(signals=part, rate=system.rate, schedule=system.schedule)
                     for part in parts)  # fmt: skip


def transfer(folder, **sizes):
    return Transfer(data=str(folder / "signals.npy"), max_steps=1, **sizes)


def test_more_measured_samples_hold_the_fewer_and_none_is_held_out(tmp_path, system):
    np.save(tmp_path / "signals.npy", signals())
    found = {}
    for count in (0, 5, 10, 20):
        trainer = transfer(tmp_path, samples=count, val_samples=12)
        train, validation = trainer.real(system, 0)
        found[count] = {row.tobytes() for row in train.signals}
        assert len(found[count]) == max(count, 1)
        kept = {row.tobytes() for row in validation.signals}
        assert len(kept) == 12
        assert not kept & found[count]
        rows = [row.tobytes() for row in usable_rows(measured_signals(f"{tmp_path}/signals.npy"))]
        places = sorted(rows.index(row) for row in kept)
        assert sum(np.diff([*places, places[0] + len(rows)]) > 1) == 1  # neighbours, in a circle
        assert found.setdefault("held", kept) == kept
    assert found[5] < found[10] < found[20]


def test_how_many_measured_samples_there_can_be_is_told(tmp_path, system):
    np.save(tmp_path / "signals.npy", signals())
    usable = len(usable_rows(signals()))
    for samples, held, key, most in (
        (usable - 11, 12, "trainer.samples", f"at most {usable - 12} "),
        (0, usable + 1, "trainer.val_samples", f"data have {usable} rows"),
    ):
        with pytest.raises(ConfigError, match=most) as error:
            transfer(tmp_path, samples=samples, val_samples=held).real(system, 0)
        assert error.value.key == key


@pytest.mark.parametrize("trainer", ["supervised", "meta"])
def test_other_trainers_refuse_measured_signals(small, trainer):
    with pytest.raises(ConfigError, match=r"^data='signals': no such key"):
        compose([*small, f"trainer={trainer}", "+data=signals"])


def test_real_samples_of_somebodys_own(system):
    """Any source of real samples can stand under data: images as well as signals."""
    rows = usable_rows(signals())
    trainer = Transfer(data=Given(rows), samples=8, val_samples=4, max_steps=1)
    train, held = trainer.real(system, 0)
    assert np.array_equal(train.signals, rows[4:12]) and np.array_equal(held.signals, rows[:4])
    with pytest.raises(ConfigError, match=r"^data=5: a name, a path or real samples"):
        Transfer(data=5, max_steps=1)


def test_measured_signals_need_a_system_that_undersamples():
    images = load_system("drone")
    with pytest.raises(ConfigError, match=r"^system='drone': a system of signals"):
        Transfer(data="signals.npy", max_steps=1).real(images, 0)


def test_fine_tuning_on_measured_rows(tmp_path, pretrained, losses):
    more = ["trainer.samples=10", "trainer.val_samples=12", "trainer.real_share=0.5"]
    fine_tune(signals(), words(pretrained, *more), tmp_path / "run")
    assert len(losses(tmp_path / "run")) == 12
    assert len(held(tmp_path / "run")) == 5
    more[-1] = "trainer.real_share=1"  # rows of another length than the system's
    fine_tune(signals(points=48), words(pretrained, *more), tmp_path / "longer")
    with pytest.raises(ConfigError, match=r"system\.points=32: 48"):
        fine_tune(signals(points=48), words(pretrained, "trainer.real_share=0.5"), tmp_path / "no")
    with pytest.raises(ConfigError, match=r"trainer\.samples=30: at most 20 \(data have 40"):
        fine_tune(signals(), words(pretrained, "trainer.samples=30"), tmp_path / "no")


def test_a_run_on_measured_rows_of_an_earlier_version_goes_on(tmp_path, pretrained, losses):
    np.save(tmp_path / "signals.npy", signals())
    line = words(pretrained, f"data={tmp_path / 'signals.npy'}", "trainer.val_samples=12")
    output = f"output={tmp_path / 'run'}"
    assert main(["train", *line, "trainer.max_steps=3", output]) == 0
    path = tmp_path / "run" / "run.ckpt"
    content = torch.load(path, weights_only=True)
    assert content["ipads_stream"]["config"]["trainer"].pop("data") == str(tmp_path / "signals.npy")
    torch.save(content, path)
    assert main(["train", f"resume={path}", "trainer.max_steps=5"]) == 0
    assert sorted(losses(tmp_path / "run")) == list(range(5))


def test_fine_tuning_on_a_measured_plane(tmp_path, pretrained, data_folder):
    from ipads_stream.data.named import SOURCES, find
    from ipads_stream.data.planes.plane import read_plane, rows_between

    plane = read_plane(find("ubiquitin"))
    rows = plane.fid[rows_between(plane, *SOURCES["ubiquitin"].signal_ppm)]
    more = ["trainer.samples=20", "trainer.max_steps=30", "trainer.val_every=10"]
    more += ["trainer.learning_rate=4e-3"]
    fine_tune(rows, words(pretrained, *more), tmp_path / "run")
    course = held(tmp_path / "run")
    assert min(course.values()) < course[0]


BAD = [
    (["trainer.samples=-1"], r"trainer\.samples=-1"),
    (["trainer.samples=0", "trainer.val_every=0"], r"trainer\.samples=0: at least 1"),
    (["trainer.real_share=0"], r"trainer\.real_share=0: above 0"),
    (["trainer.real_share=1.5"], r"trainer\.real_share=1\.5"),
    (["trainer.real_share=0.3"], r"trainer\.real_share=0\.3: a whole number of the 8 .* 0\.25"),
    (["trainer.real_share=0.01"], r"trainer\.real_share=0\.01: .* 0\.125"),
    (["trainer.layer_decay=0"], r"trainer\.layer_decay=0"),
    (["trainer.patience=-1"], r"trainer\.patience=-1"),
    (
        ["trainer.freeze=[head.*]"],
        r"trainer\.freeze='head\.\*': a pattern that matches .*blocks\.0",
    ),
    (["trainer.freeze=['*']"], r"trainer\.freeze=\('\*',\): patterns that leave"),
    (["trainer.freeze=blocks.0.*"], r"trainer\.freeze='blocks\.0\.\*': a list"),
    (["trainer.fresh=[coil]"], r"trainer\.fresh='coil': draws of the system"),
    (["trainer.target=null"], r"trainer\.target=None: fields of the system"),
    (["trainer.target={T2:1}"], r"trainer\.target\.T2=1: no such field; dlnmr has num_peaks"),
    (["trainer.target={rate:3}"], r"trainer\.target\.rate=\(3"),
    (["trainer.target=low"], r"trainer\.target='low'"),
    (["checkpoint=nothing.ckpt"], r"checkpoint='nothing\.ckpt'"),
    (["net.growth=5"], r"net\.growth=5: 4, as in the network of"),
    (["data=signals.npy"], r"data='signals\.npy'"),
]


@pytest.mark.parametrize(("more", "message"), BAD, ids=[more[0] for more, _ in BAD])
def test_bad_transfer_configuration_is_one_line_and_2(tmp_path, pretrained, capsys, more, message):
    target = [] if more[0].startswith("trainer.target=") else [TARGET]
    line = words(pretrained, *target, *more)
    assert main(["train", *line, f"output={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


@pytest.mark.slow
def test_two_processes_fine_tune_as_one(tmp_path, pretrained, losses):
    line = words(pretrained, TARGET, "trainer.real_share=0.25", "trainer.max_steps=3")
    assert main(["train", *line, f"output={tmp_path / 'one'}"]) == 0
    two = Torchrun(
        ["train", *line, "trainer.devices=null", f"output={tmp_path / 'two'}"], tmp_path / "two.txt"
    )
    assert two.wait() == 0, two.log.read_text()
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert [together[i] for i in range(3)] == pytest.approx([alone[i] for i in range(3)], rel=1e-3)
    assert held(tmp_path / "two")[0] == pytest.approx(held(tmp_path / "one")[0], rel=1e-5)
