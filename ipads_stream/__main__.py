"""The command line: ``ipads-stream VERB key=value ...``."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ipads_stream import __version__
from ipads_stream.core.errors import ConfigError
from ipads_stream.verb_help import USAGE, verb_help

OK, FAILED, BAD_CONFIG, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one verb and returns the exit code: 0, 1 (failed), 2 (bad configuration), 130."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode loses signs, not work
            stream.reconfigure(errors="replace")
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return OK if words else BAD_CONFIG
    if words[0] == "--version":
        print(f"ipads-stream {__version__}")
        return OK
    verb, overrides = words[0], words[1:]
    if verb not in VERBS:
        print(f"ipads-stream: no verb {verb!r}; there are {', '.join(VERBS)}", file=sys.stderr)
        return BAD_CONFIG
    if any(word in ("-h", "--help") for word in overrides):
        print(verb_help(verb), end="")
        return OK
    try:
        return VERBS[verb](overrides)
    except ConfigError as error:
        print(f"ipads-stream: {error}", file=sys.stderr)
        return BAD_CONFIG
    except KeyboardInterrupt:
        print("ipads-stream: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _told() as error:
        print(f"ipads-stream: {error}", file=sys.stderr)
        return FAILED
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        advice = "set NUMBA_CACHE_DIR to a folder that can be written to"
        print(f"ipads-stream: compiled kernels cannot be kept: {advice}", file=sys.stderr)
        return FAILED


def _told() -> tuple[type[BaseException], ...]:
    """Failures that a user can do something about: one line instead of a traceback.

    Only classes whose module is loaded: an exception of another class cannot have been raised, and
    an import that fails here would hide the failure.
    """
    known = (
        ("ipads_stream.evaluation.datasets", "DataUnavailable"),
        ("ipads_stream.evaluation.planes", "UnusableData"),
        ("ipads_stream.stream.failure", "SimulationError"),
    )
    loaded = [getattr(sys.modules[module], name) for module, name in known if module in sys.modules]
    return (OSError, *loaded)


def _key(word: str) -> str:
    """Key of an override, without Hydra's marks."""
    return word.partition("=")[0].lstrip("+~")


PATHS = ("checkpoint", "data", "log", "out", "output", "path", "pulseq", "resume", "run")


def _literal(word: str) -> str:
    """A path is taken as it stands: brackets and spaces are not Hydra's grammar in it."""
    key, mark, value = word.partition("=")
    if key not in PATHS or not mark or not re.search(r"[^A-Za-z0-9_./:@%-]", value):
        return word
    if value[0] == value[-1] and value[0] in "'\"" and len(value) > 1:
        return word
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}='{escaped}'"


def _compose(verb: str, overrides: Sequence[str]) -> dict[str, Any]:
    from ipads_stream.config import compose

    own = [word for word in overrides if word.startswith("conf=")]
    rest = [word for word in overrides if not word.startswith("conf=")]
    for word in rest:
        if word.startswith("-") or ("=" not in word and not word.startswith("~")):
            raise ConfigError("argument", word, f"key=value (see ipads-stream {verb} --help)")
    conf = own[-1].partition("=")[2] if own else None
    config = compose([_literal(word) for word in rest], name=verb, conf=conf)
    config["trusted"] = config.get("trusted") or []
    if config["trusted"] and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # a console script does not look there by itself
    missing = [key for key, value in config.items() if value == "???"]
    if missing:
        raise ConfigError(missing[0], None, f"a value (see ipads-stream {verb} --help)")
    return config


def train(overrides: Sequence[str]) -> int:
    """Composes, builds and trains; the run's folder holds config.json, run.ckpt, metrics.jsonl."""
    from ipads_stream.config import build_run
    from ipads_stream.train.checkpoint import read_checkpoint
    from ipads_stream.train.run import check_resume, train_run
    from ipads_stream.train.tracker import is_first_process

    resume = [word.partition("=")[2].strip("'\"") for word in overrides if _key(word) == "resume"]
    checkpoint = read_checkpoint(resume[-1]) if resume and resume[-1] != "null" else None
    if checkpoint is not None:
        # A run goes on as it was configured, unless told otherwise. Where it lies, and which code
        # may be run, is for the one who resumes to say: a checkpoint may come from anywhere.
        asked = ("output", "resume", "trusted", "conf", "hydra")
        before = checkpoint["config"]["overrides"]
        kept = [word for word in before if _key(word).partition(".")[0] not in asked]
        overrides = [*kept, *overrides]
    config = _compose("train", overrides)
    config["overrides"] = [word for word in overrides if _key(word) != "resume"]
    if checkpoint is not None:
        check_resume(checkpoint["config"], config, resume[-1])
    finished, output = train_run(build_run(config))
    if is_first_process():
        print(output / "run.ckpt")
    return OK if finished else INTERRUPTED


def preview(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_sequence, build_system

    config = _compose("preview", overrides)
    systems = [word for word in overrides if _key(word).partition(".")[0] == "system"]
    for key in ("sequence", "pulseq", "phantoms"):
        if systems and config.get(key):
            key_given, _, value = systems[0].partition("=")
            raise ConfigError(key_given, value, f"a system, or {key}, but not both")
    if config["phantoms"]:
        from ipads_stream.evaluation.phantom_figures import preview_phantoms

        output = Path(config["output"] or "runs/preview-phantoms")
        for path in preview_phantoms(output, seed=config["seed"]):
            print(path)
        return OK
    sequence = build_sequence(config, config["trusted"])
    if sequence is not None:
        from ipads_stream.evaluation.sequence_figures import preview_sequence

        output = Path(config["output"] or f"runs/preview-{sequence.name}")
        for path in preview_sequence(sequence, output):
            print(path)
        return OK
    from ipads_stream.evaluation.preview import preview_system
    from ipads_stream.stream.stream import Stream

    system = build_system(config, config["trusted"])
    stream = Stream(system, seed=config["seed"], device=config["device"], threads=0)
    output = Path(config["output"] or f"runs/preview-{system.name}")
    for path in preview_system(stream, output, config["samples"], config["progress"]):
        print(path)
    return OK


def evaluate(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system, load_model

    config = _compose("evaluate", overrides)
    model = load_model(config["checkpoint"], trusted=config["trusted"], device=config["device"])
    system = build_system(model.config, config["trusted"])
    output = Path(config["output"] or Path(config["checkpoint"]).parent / "report")
    if getattr(system, "quantities", None):
        from ipads_stream.evaluation.quantification.evaluate import evaluate_quantities

        print(evaluate_quantities(model, system, config, output))
        return OK
    for key in ("methods", "axis", "axis_unit"):
        if config[key] is not None:
            raise ConfigError(key, config[key], f"null: {system.name} estimates no quantities")
    from ipads_stream.evaluation.evaluate import evaluate_model

    print(evaluate_model(model, system, config, output))
    return OK


def replay(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_run, build_system
    from ipads_stream.evaluation.replaying import replay_logged
    from ipads_stream.train.checkpoint import read_checkpoint
    from ipads_stream.train.run import systems_of_splits

    def build_splits(run: dict[str, Any], trusted: Sequence[str]) -> dict[str, Any]:
        return systems_of_splits(build_run({**run, "trusted": trusted}))

    config = _compose("replay", overrides)
    for line in replay_logged(config, build_system, build_splits, read_checkpoint):
        print(line)
    return OK


def shift(overrides: Sequence[str]) -> int:
    from ipads_stream.shift import run_study

    ran = run_study(_compose("shift", overrides), bar=sys.stderr.isatty())
    print(ran.text)
    return FAILED if ran.failures else OK


def fit_prior(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system
    from ipads_stream.evaluation.fit_prior import fit_prior as fit

    config = _compose("fit_prior", overrides)
    for path in fit(build_system(config, config["trusted"]), config):
        print(path)
    return OK


def freeze(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system
    from ipads_stream.stream.freeze import freeze as freeze_stream
    from ipads_stream.stream.stream import Stream

    config = _compose("freeze", overrides)
    stream = Stream(
        build_system(config, config["trusted"]),
        seed=config["seed"],
        split=config["split"],
        batch_size=config["batch_size"],
        device=config["device"],
        threads=0,
    )
    print(freeze_stream(stream, config["path"], config["num_samples"], fmt=config["format"],
                        bar=sys.stderr.isatty()))  # fmt: skip
    return OK


def bench(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system
    from ipads_stream.stream.bench import measure, table, write

    config = _compose("bench", overrides)
    rows = measure(
        build_system(config, config["trusted"]),
        batch_size=config["batch_size"],
        threads=config["threads"],
        seconds=config["seconds"],
        device=config["device"],
    )
    print(table(rows))
    if config["out"]:
        write(rows, Path(config["out"]))
    return OK


def doctor(overrides: Sequence[str]) -> int:
    from ipads_stream.doctor import examine

    if overrides:
        raise ConfigError("argument", overrides[0], "nothing: doctor takes no keys")
    text, is_sound = examine()
    print(text)
    return OK if is_sound else FAILED


VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "train": train,
    "preview": preview,
    "evaluate": evaluate,
    "replay": replay,
    "shift": shift,
    "fit-prior": fit_prior,
    "freeze": freeze,
    "bench": bench,
    "doctor": doctor,
}

if __name__ == "__main__":
    sys.exit(main())
