"""Logged samples, rebuilt: the worst of an evaluation or a training, non-finite ones, or any."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream import zoo
from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Choice, Instance, Number, Rule, Whole
from ipads_stream.core.files import file_name, from_json, replacing
from ipads_stream.data.named import DataUnavailable
from ipads_stream.report.figures import NETWORK
from ipads_stream.report.galleries import Labels
from ipads_stream.report.signals import on_host, sample_gallery
from ipads_stream.stream.adaptation import with_shares
from ipads_stream.stream.estimate import within_memory
from ipads_stream.stream.failure import POLICIES, row_of
from ipads_stream.stream.replay import digest, read_log, replay
from ipads_stream.systems import System

RUN_CONFIG = "config.json"
TRAINERS = ("train", "validation")  # splits that a trainer may transform
SHARES = "shares.jsonl"
NUMBER = Number(optional=True, infinite=True)
INDEX, WORD = Whole(low=0, high=2**63 - 1), Instance(of=str, allowed="text")
TEXT = Instance(of=str, allowed="text", optional=True)
KEYED = Instance(of=Mapping, allowed="names and what they hold", optional=True)
RECORD: Mapping[str, Rule] = {  # key of a record -> what a rebuilt sample may rest on
    "seed": INDEX, "split": WORD, "index": INDEX,
    "errors": KEYED, "overrides": KEYED, "shares": KEYED, "params": KEYED, "loss": NUMBER,
    "step": Whole(optional=True), "rate": NUMBER, "digest": TEXT, "metric": WORD,
    "config_hash": TEXT, "policy": Choice(among=POLICIES, optional=True),
    "on_nonfinite": Choice(among=POLICIES, optional=True),
}  # fmt: skip
LOGS = "samples.jsonl, metrics.jsonl or failures.jsonl"


def replay_logged(
    config: Mapping[str, Any],
    build_system: Callable[..., System],
    build_splits: Callable[..., Mapping[str, System]],
    read_checkpoint: Callable[..., Mapping[str, Any]],
) -> Iterator[str]:
    """Rebuilds samples, and saves each as arrays (.npz) and as a picture (.png).

    Args:
        config: as conf/replay.yaml.
        build_system: (run configuration, trusted packages) -> system, which the tests draw from.
        build_splits: the same -> split -> system that the run drew from: tasks, mixtures.
        read_checkpoint: path -> content with the run's "config".

    Yields:
        A line for each sample: its origin, its parameters, whether its digest agrees.

    Raises:
        ConfigError: a key that cannot be used, a log of another configuration, or a split that
            needs measured data that cannot be obtained.
    """
    run, folder = _run_config(config, read_checkpoint)
    trusted = config.get("trusted") or []
    records = _records(config, run)
    systems: dict[str, System] = {}
    if any(record["split"] in TRAINERS for record in records):
        try:
            systems = dict(build_splits(run, trusted))
        except ConfigError as error:
            if error.key != "data":
                raise
            allowed = f"{error.allowed}; without it only split=test can be rebuilt"
            raise ConfigError("data", error.value, allowed) from error
        except DataUnavailable as reason:
            parts = f"{reason}; without these data only split=test can be rebuilt"
            raise DataUnavailable(parts) from reason
        path = Path(config.get("checkpoint") or folder / "run.ckpt")
        lacking = [r for r in records if "shares" not in r and r["split"] == "train"]
        if lacking and path.is_file():
            table = read_checkpoint(path)["stream"].get("table")
            for record in lacking if table else []:
                record |= _shares(record["index"], table, path.with_name(SHARES))
    plain = build_system(run, trusted)
    output = Path(config["output"]) if config.get("output") else folder / "replay"
    output.mkdir(parents=True, exist_ok=True)
    labels, device = Labels.of(plain), str(config.get("device") or "cpu")
    for record in records:
        with within_memory(device, share=0.5):  # the configuration may be somebody else's
            told = _rebuild(record, systems.get(record["split"], plain), output, labels, device)
        yield told


def _shares(index: int, table: Mapping[str, Any], log: Path) -> dict[str, Any]:
    """The shares of a sample of a run whose distributions adapt: by the log of all, or by the
    checkpoint's table of the last."""
    lines = list(read_log(log)) if log.is_file() else []
    dropped = lines[0]["number"] - 1 if lines else table.get("dropped", 0)
    history = [(line["first"], line["shares"]) for line in lines] or table["history"]
    before = [shares for first, shares in history if first <= index]
    if dropped and not before:
        raise ConfigError("index", index, f"{history[0][0]} or more, without a whole {log.name}")
    return {"shares": before[-1]} if before else {}


def _run_config(
    config: Mapping[str, Any], read_checkpoint: Callable[..., Mapping[str, Any]]
) -> tuple[dict[str, Any], Path]:
    """The composed configuration of the run, and its folder."""
    run, checkpoint = config.get("run"), config.get("checkpoint")
    if (run is None) == (checkpoint is None):
        raise ConfigError("run", run, "given, or checkpoint, and not both")
    if zoo.is_named(checkpoint):
        allowed = "a run's: the zoo keeps no log of samples; its card tells how to train the same"
        raise ConfigError("checkpoint", checkpoint, allowed)
    if checkpoint is not None:
        return read_checkpoint(checkpoint)["config"], Path(checkpoint).parent
    folder = Path(str(run))
    path = folder / RUN_CONFIG
    if not path.is_file():
        raise ConfigError("run", str(run), f"a folder that holds {RUN_CONFIG}, written by training")
    try:
        written = from_json(path.read_text(encoding="utf-8"))
        if not isinstance(written, dict):
            raise ValueError("no keys")
    except ValueError as error:
        raise ConfigError("run", str(run), f"a folder with a whole {RUN_CONFIG}") from error
    return written, folder


def _records(config: Mapping[str, Any], run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to rebuild: one sample by index, or the worst of a log, worst first.

    Samples are ranked by the network's error, or without one by the largest.
    """
    index, log = config.get("index"), config.get("log")
    if (index is None) == (log is None):
        raise ConfigError("index", index, "given, or log, and not both")
    seed = INDEX("seed", run.get("seed") if config.get("seed") is None else config["seed"])
    policy = (KEYED("run.stream", run.get("stream")) or {}).get("on_nonfinite")
    common = {"seed": seed, "on_nonfinite": "substitute" if policy == "substitute" else "mask"}
    if index is not None:
        split = WORD("split", config.get("split") or "train")
        return [common | {"split": split, "index": INDEX("index", index)}]
    assert log is not None
    worst = Whole(low=1)("worst", config.get("worst", 5))
    if not Path(str(log)).is_file():
        raise ConfigError("log", str(log), f"a JSON-lines file: {LOGS}")
    ranked: dict[tuple[Any, ...], tuple[float, dict[str, Any]]] = {}
    for line in read_log(Path(str(log))):
        errors = line.get("errors", line.get("rlne"))
        if errors:
            for method, error in KEYED("log.errors", errors).items():
                NUMBER(f"log.errors.{method}", error)
            known = [error for error in errors.values() if error is not None]
            score, record = errors.get(NETWORK, max(known, default=None)), line | {"errors": errors}
        elif line.get("worst/index") is not None and line.get("worst/loss") is not None:
            score = NUMBER("log.worst/loss", line["worst/loss"])
            index = Number(low=0)("log.worst/index", line["worst/index"])
            place = {"split": "train", "index": int(index)}
            record = common | place | {"loss": score, "step": line.get("step")}
        elif line.get("policy") and {"index", "seed", "split"} <= set(line):
            score, record = np.inf, line
        else:
            continue
        _check(record)
        same = (record["seed"], record["split"], record["index"], record.get("rate"))
        if score is not None and (same not in ranked or ranked[same][0] < score):
            ranked[same] = (score, record)
    if not ranked:
        allowed = f"lines of {LOGS}: with errors, with worst/index and worst/loss, or with policy"
        raise ConfigError("log", str(log), allowed)
    ordered = sorted(ranked.values(), key=lambda pair: -pair[0])
    return [record for _, record in ordered[:worst]]


def _check(record: Mapping[str, Any]) -> None:
    """Raises ConfigError, by key, where a logged record holds what no sample can be built from."""
    for key in ("seed", "split", "index"):
        if key not in record:
            raise ConfigError(f"log.{key}", None, "a value in every record")
    for key, rule in RECORD.items():
        if key in record:
            rule(f"log.{key}", record[key])


def _rebuild(
    record: Mapping[str, Any], system: System, output: Path, labels: Labels, device: str
) -> str:
    overrides = record.get("overrides") or {}
    try:
        system = dataclasses.replace(system, **overrides)  # type: ignore[type-var]
        with_shares(system, record.get("shares"))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        given = {key: record.get(key) for key in ("overrides", "shares")}
        raise ConfigError("log", given, f"values of keys of the system ({error})") from error
    rate = NUMBER("log.overrides.rate", overrides.get("rate"))
    wanted = {"config_hash": config_hash(system)} | dict(record)
    wanted.pop("digest", None)  # a difference is reported, not raised
    is_failure = "policy" in record
    sample = on_host(replay(system, wanted, device=device, raw=is_failure))
    rebuilt = digest(sample, 0)
    agrees = {None: "none logged", rebuilt: "agrees"}.get(record.get("digest"), "DIFFERS")
    name = f"{record['split']}-{record['index']}" + (f"-rate{rate:g}" if rate is not None else "")
    name = file_name(name)
    params = row_of(sample.params, 0)
    if "is_real" in params:  # of a mixture, the parameters of the other kind are zeros
        other = "synthetic." if params["is_real"] else "real."
        params = {key: value for key, value in params.items() if not key.startswith(other)}
    parts = [f"{record['split']} sample {record['index']}, seed {record['seed']}"]
    if overrides:
        parts.append("with " + ", ".join(f"{key}={value}" for key, value in overrides.items()))
    if "errors" in record:
        errors = ", ".join(f"{name} {_short(error)}" for name, error in record["errors"].items())
        parts.append(f"{record.get('metric', 'rlne').upper()} {errors}")
    if "loss" in record:
        parts.append(f"loss {_short(record['loss'])} at step {record['step']}")
    arrays = {
        f"{kind}/{key}": np.asarray(tensor[0])
        for kind in ("inputs", "targets")
        for key, tensor in getattr(sample, kind).items()
    }
    if is_failure:
        parts += _failure(record, arrays, row_of(sample.params, 0))
    arrays |= {f"params/{key}": np.asarray(values)[0] for key, values in sample.params.items()}
    with replacing(output / f"{name}.npz") as partial, partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    with np.errstate(all="ignore"):  # of a sample that is not finite the finite part is drawn
        sample_gallery(sample, output / f"{name}.png", labels=labels, count=1, titles=[parts[0]])
    drawn = ", ".join(f"{key}={_short(value)}" for key, value in params.items())
    return "; ".join([*parts, f"digest {agrees}", f"{output / name}.npz", drawn])


def _failure(
    record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], params: Mapping[str, Any]
) -> list[str]:
    """What is not finite in a rebuilt sample, and whether its parameters are those logged."""
    bad = [name for name, array in arrays.items() if not np.isfinite(array).all()]
    at = f" at step {record['step']}" if record.get("step") is not None else ""
    parts = [f"{', '.join(bad) or 'nothing'} not finite (policy {record['policy']}{at})"]
    if "params" in record:
        agree = json.dumps(record["params"]) == json.dumps(params)
        parts.append(f"parameters {'agree' if agree else 'DIFFER'}")
    return parts


def _short(value: Any) -> str:
    """Numbers with four digits, lists of them in brackets."""
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_short(item) for item in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
