"""Files that a line of ``fuzz_lines.py`` reads, sound ones, and how they are spoilt."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import scipy.io

BEFORE = Path(__file__).resolve().parents[1] / "before"
FREE = ["device=cpu", "output=out"]
SHORT = {  # verb -> words that make it a short one, and its weight
    "train": ([*FREE, "logger=none", "trainer.max_steps=1", "trainer.bar=false",
               "trainer.val_every=0", "stream.batch_size=2", "stream.threads=0"], 12),
    "preview": ([*FREE, "samples=2", "progress=[0]"], 1),
    "evaluate": ([*FREE, "checkpoint={checkpoint}", "samples=2"], 2),
    "apply": ([*FREE, "checkpoint={checkpoint}", "data=nowhere"], 3),
    "diagnose": ([*FREE, "checkpoint={checkpoint}", "data=nowhere"], 2),
    "replay": (["output=out", "checkpoint={checkpoint}", "index=1"], 4),
    "shift": (["output=out", "shift=tiny", "arm=nobody", "logger=none"], 4),
    "fit-prior": (["output=out", "data=nowhere"], 4),
    "adopt": (["output=out", "data=nowhere"], 2),
    "design": (["output=out", "count=5", "starts=1", "voxels=4"], 3),
    "freeze": (["path=out", "num_samples=2", "batch_size=2", "device=cpu"], 12),
    "bench": (["seconds=1e-3", "batch_size=2", "threads=0", "device=cpu"], 8),
    "config": (["train"], 6),
    "list": ([], 1),
    "completion": ([], 1),
    "doctor": ([], 1),
    "nonsense": ([], 1),
}  # fmt: skip
NUMBERS = (b"0", b"-1", b"1e30", b"nan", b"inf", b"99999999999", b"", b"x", b"1e-300", b"[]",
           b"null", b"4096")  # fmt: skip
WHOLE = (b"", b"\0" * 64, b"\xff" * 600, b"x", b"{}", b"[" * 3000, b"\n", b"- a\n- b: c: d")
WORDS = (b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\xc0\x7f")
ECHOES = b'{"EchoTime": [0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08]}'
SMALL = {  # what volumes and images are made as: of more, a classical method takes long
    "deepspio": ["system.shape=[12,10,8]"],
    "oled": ["system.sequence.matrix=32"],
    "qsmnet": ["system.shape=[12,10,8]"],
    "qsmnet_unrolled": ["system.shape=[12,10,8]"],
}
Files = dict[str, bytes]


def sound_files() -> list[tuple[list[str], Files]]:
    """Words of a line that reads files, and them; each is one sample of its kind."""
    freeze = [*SHORT["freeze"][0]]
    spectral = [
        "evaluate",
        *FREE,
        f"checkpoint={BEFORE}/dlnmr.ckpt",
        "rates=[0.25]",
        "schedules=1",
        "samples=2",
    ]
    images = ["evaluate", *FREE, "checkpoint={checkpoint}"]
    posterior = ["apply", *FREE, "checkpoint={trained}/t2_map/run.ckpt"]
    train = ["train", *SHORT["train"][0]]
    system = (BEFORE.parents[1] / "conf/system/dlnmr.yaml").read_bytes()
    file = "ipads_stream.sequences.fingerprint_schedules.ScheduleFile"
    drone = ["freeze", *freeze, "system=drone"]
    empirical = "{_target_: ipads_stream.distributions.Empirical, path: a.npy}"
    found = [
        *((reader, files) for reader, files in _planes(spectral, train)),
        ([*images, "data=i.nii"], {"i.nii": _image(), "i.json": ECHOES}),
        (["adopt", "output=out", "data=i.nii"], {"i.nii": _image(), "i.json": ECHOES}),
        ([*images, "data=i.npy"], {"i.npy": _npy(np.ones((4, 4, 1, 8))), "i.json": ECHOES}),
        ([*posterior, "data=i.nii"], {"i.nii": _image(), "i.json": ECHOES}),
        ([*posterior, "data=i.npy", "axis=[1,2,3,4,5,6,7,8]", "axis_unit=ms"],
         {"i.npy": _npy(np.ones((2, 2, 1, 8)))}),
        ([*images, "data=s.txt"], {"s.txt": b"1.0 0.5\n0.5 -0.25\n0.25 0.0\n0.1 0.1\n"}),
        (["evaluate", *FREE, "checkpoint=c", "samples=2"], {"c": _checkpoint("drone")}),
        (["train", "resume=c", "trainer.max_steps=1", *FREE], {"c": _checkpoint("ann_mwf")}),
        (["replay", "run=run", "log=run/log.jsonl", "output=out"], _run()),
        ([*train, "conf=conf", "system=mine", "net=dlnmr", "loss=deep_supervision"],
         {"conf/system/mine.yaml": system}),
        (["freeze", *freeze, f"system.amplitude={empirical}"],
         {"a.npy": _npy(np.linspace(0.1, 1, 99))}),
        ([*drone, f"system.schedule={{_target_: {file}, path: s.yaml}}"],
         {"s.yaml": b"FA: [10, 20, 30, 20]\nTR: [14, 14, 15, 14]\nTE: [3, 3, 3, 3]\n"}),
        ([*drone, f"system.schedule={{_target_: {file}, path: s.csv}}"],
         {"s.csv": b"FA,TR,TE\n10,14,3\n20,14,3\n30,15,3\n"}),
        (["preview", "output=out", "pulseq=e.seq"], {"e.seq": _pulseq()}),
    ]  # fmt: skip
    return found


def _planes(spectral: list[str], train: list[str]) -> list[tuple[list[str], Files]]:
    plane = np.exp(np.arange(16 * 24).reshape(16, 24) * 0.7j).astype(np.complex64)
    npy = {"p.npy": _npy(plane)}
    npz = {"p.npz": _saved(lambda path: np.savez(path, a=plane), ".npz")}
    mat = {"p.mat": _saved(lambda path: scipy.io.savemat(path, {"a": plane}), ".mat")}
    return [
        ([*spectral, "data=p.npy"], npy),
        ([*spectral, "data=p.npz"], npz),
        ([*spectral, "data=p.mat"], mat),
        (["fit-prior", "output=out", "data=p.npy"], npy),
        (["adopt", "output=out", "data=p.npy"], npy),
        ([*train, "trainer=transfer", "data=p.npy"], npy),
    ]


def _saved(write: Callable[[Path], Any], suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"x{suffix}"
        write(path)
        return path.read_bytes()


def _npy(values: np.ndarray) -> bytes:
    return _saved(lambda path: np.save(path, values), ".npy")


def _image() -> bytes:
    values = np.linspace(1, 2, 32, dtype=np.float32).reshape(2, 2, 1, 8)
    return nibabel.Nifti1Image(values, np.eye(4)).to_bytes()


def _checkpoint(system: str) -> bytes:
    return (BEFORE / f"{system}.ckpt").read_bytes()


def _pulseq() -> bytes:
    from ipads_stream import sequences

    echo = sequences.gradient_echo(matrix=4)
    return _saved(lambda path: sequences.write_pulseq(echo, path), ".seq")


def _run() -> Files:
    from ipads_stream.config import compose
    from ipads_stream.core.files import json_text

    config = json_text(compose(["device=cpu", "system.points=32", "logger=none"]))
    record = {"seed": 0, "split": "test", "index": 3, "errors": {"network": 0.1}}
    return {"run/config.json": config.encode(), "run/log.jsonl": json.dumps(record).encode()}


def mutated(content: bytes, draw: np.random.Generator) -> bytes:
    """With bytes or numbers changed, cut, doubled, or none of it."""
    raw, kind = bytearray(content), int(draw.integers(8))
    if kind == 0:
        return bytes(raw[: int(draw.integers(len(raw) + 1))])
    if kind == 1:
        return _pick(draw, WHOLE)
    if kind == 2 and len(raw) > 8:
        at = int(draw.integers(min(len(raw) - 8, 2000)))
        raw[at : at + 4] = _pick(draw, WORDS)
        return bytes(raw)
    if kind in (3, 4):  # a number of a text
        places = list(re.finditer(rb"(?<![\w.])-?\d+\.?\d*(?:e[+-]?\d+)?", bytes(raw[:20_000])))
        if places:
            place = _pick(draw, places)
            raw[place.start() : place.end()] = _pick(draw, NUMBERS)
        return bytes(raw)
    if kind == 5:  # a line, or a word, goes
        parts = re.split(rb"(\n|: | )", bytes(raw))
        del parts[int(draw.integers(len(parts)))]
        return b"".join(parts)
    for _ in range(int(draw.integers(1, 9))):
        if raw:
            raw[int(draw.integers(min(len(raw), 4000)))] = int(draw.integers(256))
    return bytes(raw)


def _pick(draw: np.random.Generator, things: Any) -> Any:
    return things[int(draw.integers(len(things)))]
