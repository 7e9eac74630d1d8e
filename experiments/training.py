"""Trained networks of the rows: made once through the package, then reused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ipads_stream import ConfigError
from ipads_stream.config import build_run, compose
from ipads_stream.core.files import write_text
from ipads_stream.train.run import train_run

QUIET = ("logger=none", "trainer.bar=false", "trainer.val_every=0", "device=cpu")


def trained(output: Path, words: Sequence[str]) -> Path:
    """Checkpoint of a network trained as ``ipads-stream train`` would; a stopped run goes on.

    Args:
        output: folder of the run.
        words: overrides, e.g. ``["system=drone", "trainer.max_steps=2000", "seed=0"]``.

    Raises:
        ConfigError: the folder holds a network trained with other overrides.
        KeyboardInterrupt: training was stopped; it goes on from there next time.
    """
    done, asked = output / "finished.json", list(words)
    if done.exists():
        before = json.loads(done.read_text())
        if before != asked:
            raise ConfigError("output", str(output), f"a folder of {' '.join(asked)}: this one "
                              f"holds {' '.join(before)}")  # fmt: skip
        return output / "run.ckpt"
    given = [*QUIET, *asked, f"output={output}"]
    if (output / "run.ckpt").exists():
        given.append(f"resume={output / 'run.ckpt'}")
    config = compose(given)
    config["overrides"] = [word for word in given if not word.startswith("resume=")]
    finished, _ = train_run(build_run(config))
    if not finished:
        raise KeyboardInterrupt
    write_text(done, json.dumps(asked))
    return output / "run.ckpt"
