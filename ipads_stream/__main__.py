"""The command line: ``ipads-stream VERB key=value ...``."""

import difflib
import functools
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ipads_stream import __version__
from ipads_stream.command_words import composed_of, key_of, overrides_of
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
        near = difflib.get_close_matches(verb, list(VERBS), n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        return _said(f"no verb {verb!r}; there are {', '.join(VERBS)}{meant}", BAD_CONFIG)
    if any(word in ("-h", "--help") for word in overrides):
        print(verb_help(verb), end="")
        return OK
    try:
        return VERBS[verb](overrides)
    except ConfigError as error:
        return _said(error, BAD_CONFIG)
    except KeyboardInterrupt:
        return _said("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except _user_errors() as error:
        return _said(error, FAILED)
    except MemoryError as error:
        return _said(f"more memory than is free: {error or 'ask for less at a time'}", FAILED)
    except RuntimeError as error:
        from ipads_stream.stream.estimate import is_out_of_memory

        if is_out_of_memory(error):  # as torch says it
            return _said(f"more memory than is free: {str(error)[-150:]}", FAILED)
        if "no locator available" not in str(error):
            raise
        advice = "set NUMBA_CACHE_DIR to a folder that can be written to"
        return _said(f"compiled kernels cannot be kept: {advice}", FAILED)


def _said(reason: Any, code: int) -> int:
    print(f"ipads-stream: {' '.join(str(reason).splitlines())}", file=sys.stderr)
    return code


def _user_errors() -> tuple[type[BaseException], ...]:
    """Failures that a user can do something about: one line instead of a traceback."""
    # Of loaded modules alone: others raised nothing, and a failing import would hide the failure.
    known = (
        ("ipads_stream.data.named", "DataUnavailable"),
        ("ipads_stream.data.planes.plane", "UnusableData"),
        ("ipads_stream.stream.failure", "SimulationError"),
        ("ipads_stream.train.checkpoint", "DivergedError"),
    )
    loaded = [getattr(sys.modules[module], name) for module, name in known if module in sys.modules]
    return (OSError, *loaded)


def train(overrides: Sequence[str]) -> int:
    """Composes, builds and trains; the run's folder holds config.json, run.ckpt, metrics.jsonl."""
    from ipads_stream.config import build_run
    from ipads_stream.train.checkpoint import read_checkpoint
    from ipads_stream.train.run import check_resume, restarted, train_run
    from ipads_stream.train.tracker import is_first_process

    given = {key_of(word): word.partition("=")[2].strip("'\"") for word in overrides}
    resume, is_restarted = given.get("resume", "null"), given.get("resume") == "auto"
    if is_restarted:
        resume = restarted(given.get("output")) or "null"
        overrides = [*overrides, f"resume={resume}"]
    checkpoint = None if resume == "null" else read_checkpoint(resume)
    if checkpoint is not None:
        # A run goes on as it was configured, unless told otherwise. Where it lies, and which code
        # may be run, is for the one who resumes to say: a checkpoint may come from anywhere.
        asked = ("output", "resume", "trusted", "conf", "hydra")
        before = checkpoint["config"]["overrides"]
        kept = [word for word in before if key_of(word).partition(".")[0] not in asked]
        overrides = [*kept, *overrides]
    config = composed_of("train", overrides)
    config["overrides"] = [word for word in overrides if key_of(word) != "resume"]
    run = build_run(config)
    if checkpoint is not None:  # the network's outputs are filled in by building
        check_resume(checkpoint["config"], run.config, resume)
    size = config["stream"]["batch_size"]
    if is_restarted and checkpoint is not None and run.trainer.is_used_up(checkpoint, size):
        return OK  # started once more after its end
    finished, output = train_run(run)
    if is_first_process():
        print(output / "run.ckpt")
    return OK if finished else INTERRUPTED


def preview(overrides: Sequence[str]) -> int:
    """Draws a system, a sequence or phantoms; prints the page first, then its pictures."""
    from ipads_stream.config import build_sequence, build_system
    from ipads_stream.core.files import file_name

    config = composed_of("preview", overrides)
    systems = [word for word in overrides if key_of(word).partition(".")[0] == "system"]
    for key in ("sequence", "pulseq", "phantoms"):
        if systems and config.get(key):
            key_given, _, value = systems[0].partition("=")
            raise ConfigError(key_given, value, f"a system, or {key}, but not both")
    sequence = build_sequence(config, config["trusted"])
    if config["phantoms"] or sequence is not None:
        from ipads_stream.preview.page import preview_page
        from ipads_stream.preview.phantoms import preview_phantoms
        from ipads_stream.report.sequences import preview_sequence

        name = "phantoms" if sequence is None else sequence.name
        output = Path(config["output"] or f"runs/preview-{file_name(name)}")
        if sequence is None:
            pictures = preview_phantoms(output, seed=config["seed"])
        else:
            pictures = preview_sequence(sequence, output)
        paths = [preview_page(name, pictures, output), *pictures]
    else:
        from ipads_stream.preview.system import check_preview, preview_system
        from ipads_stream.stream.stream import Stream

        system = build_system(config, config["trusted"])
        stream = Stream(system, seed=config["seed"], device=config["device"], threads=0)
        check_preview(stream, config["samples"])
        output = Path(config["output"] or f"runs/preview-{file_name(system.name)}")
        paths = preview_system(stream, output, config["samples"], config["progress"])
    print(*paths, sep="\n")
    return OK


def evaluate(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system, instantiate, load_model
    from ipads_stream.evaluation.evaluate import evaluate as evaluate_model
    from ipads_stream.train.tracker import build_logger, log_evaluation

    def build(node: Any, key: str, packages: Sequence[str]) -> Any:
        return instantiate(node, key, (*config["trusted"], *packages))

    config = composed_of("evaluate", overrides)
    model = load_model(config["checkpoint"], trusted=config["trusted"], device=config["device"])
    system = build_system(model.config, config["trusted"])
    output = Path(config["output"] or Path(config["checkpoint"]).parent / "report")
    logger = build_logger(config["logger"], build, output)
    text, rows = evaluate_model(model, system, config, output)
    print(text)
    log_evaluation(logger, config, output, rows, output / "report.html")
    return OK


def apply(overrides: Sequence[str]) -> int:
    from ipads_stream.config import load_model
    from ipads_stream.evaluation.apply import apply as apply_model

    config = composed_of("apply", overrides)
    model = load_model(config["checkpoint"], trusted=config["trusted"], device=config["device"])
    for line in apply_model(model, config):
        print(line)
    return OK


def diagnose(overrides: Sequence[str]) -> int:
    from ipads_stream.config import load_model
    from ipads_stream.evaluation.diagnosis import diagnose as diagnose_images

    config = composed_of("diagnose", overrides)
    model = load_model(config["checkpoint"], trusted=config["trusted"], device=config["device"])
    print(diagnose_images(model, config))
    return OK


def replay(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_run, build_system
    from ipads_stream.evaluation.replaying import replay_logged
    from ipads_stream.train.checkpoint import read_checkpoint
    from ipads_stream.train.run import systems_of_splits

    def build_splits(run: dict[str, Any], trusted: Sequence[str]) -> dict[str, Any]:
        return systems_of_splits(build_run({**run, "trusted": trusted}))

    config = composed_of("replay", overrides)
    for line in replay_logged(config, build_system, build_splits, read_checkpoint):
        print(line)
    return OK


def shift(overrides: Sequence[str]) -> int:
    from ipads_stream.shift import run_study

    ran = run_study(composed_of("shift", overrides), bar=sys.stderr.isatty())
    print(ran.text)
    return FAILED if ran.failures else OK


def fit_prior(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system
    from ipads_stream.evaluation.fit_prior import fit_prior as fit

    config = composed_of("fit_prior", overrides)
    for path in fit(build_system(config, config["trusted"]), config):
        print(path)
    return OK


def adopt(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system, composed, group_names, recommended
    from ipads_stream.evaluation.adoption import adopt as adopt_data

    config = composed_of("adopt", overrides)
    conf, words = overrides_of("adopt", overrides)
    has_system = config.get("system") is not None
    named = composed(words, name="adopt", conf=conf)[1]["system"] if has_system else None

    def build(name: str) -> Any:
        return build_system(composed_of("adopt", [*overrides, f"system={name}"]), config["trusted"])

    candidates = {name: functools.partial(build, name) for name in group_names("system", conf)}
    print(*adopt_data(config, named, candidates, lambda x: recommended(x, conf)), sep="\n")
    return OK


def design(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system, composed, group_names, recommended
    from ipads_stream.evaluation.design import design as design_protocol

    config = composed_of("design", overrides)
    conf, words = overrides_of("design", overrides)
    named = composed(words, name="design", conf=conf)[1]["system"]
    system, taken = build_system(config, config["trusted"]), group_names("system", conf)
    print(design_protocol(system, named, config, taken, recommended(named, conf)))
    return OK


def freeze(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system
    from ipads_stream.stream.freeze import check_freeze
    from ipads_stream.stream.freeze import freeze as freeze_stream
    from ipads_stream.stream.stream import Stream

    config = composed_of("freeze", overrides)
    settings = {key: config[key] for key in ("seed", "split", "batch_size", "device")}
    stream = Stream(build_system(config, config["trusted"]), threads=0, **settings)
    path, num_samples, bar = config["path"], config["num_samples"], sys.stderr.isatty()
    check_freeze(stream, path, num_samples)
    print(freeze_stream(stream, path, num_samples, fmt=config["format"], bar=bar))
    return OK


def bench(overrides: Sequence[str]) -> int:
    from ipads_stream.config import build_system
    from ipads_stream.stream.bench import check_bench, measure, table, write

    config = composed_of("bench", overrides)
    settings = {key: config[key] for key in ("batch_size", "threads", "seconds", "device")}
    system = build_system(config, config["trusted"])
    check_bench(system, **settings)
    rows = measure(system, **settings)
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


def list_(words: Sequence[str]) -> int:
    from ipads_stream.listing import listing

    print(listing(words))
    return OK


def config(words: Sequence[str]) -> int:
    from ipads_stream.listing import annotated

    verb, overrides = (words[0], words[1:]) if words else ("train", [])
    if verb not in COMPOSED:
        raise ConfigError("config", verb, f"one of {', '.join(COMPOSED)}, then its keys")
    conf, literal = overrides_of(verb, overrides)
    print(annotated(verb, literal, conf))
    return OK


def completion(words: Sequence[str]) -> int:
    from ipads_stream.listing import completion as script

    if len(words) != 1:
        raise ConfigError("completion", " ".join(words), "bash, zsh or fish")
    print(script(words[0], list(VERBS)))
    return OK


_COMPOSED = (
    train,
    preview,
    evaluate,
    apply,
    diagnose,
    replay,
    shift,
    fit_prior,
    adopt,
    design,
    freeze,
    bench,
)
VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    verb.__name__.strip("_").replace("_", "-"): verb
    for verb in (*_COMPOSED, list_, config, completion, doctor)
}
COMPOSED = list(VERBS)[: len(_COMPOSED)]

if __name__ == "__main__":
    sys.exit(main())
