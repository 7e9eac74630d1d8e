"""Logged samples, built again: the worst of an evaluation or of a training run, those that were not
finite, or any by index.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import replacing
from ipads_stream.core.sample import Sample
from ipads_stream.evaluation.datasets import DataUnavailable
from ipads_stream.evaluation.methods import NETWORK
from ipads_stream.evaluation.signal_figures import on_host, sample_gallery
from ipads_stream.stream.failure import row_of
from ipads_stream.stream.replay import digest, read_log, replay
from ipads_stream.systems import System

RUN_CONFIG = "config.json"
TRAINERS = ("train", "validation")  # splits that a trainer may make something of
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
        One line per sample: where it is from, its parameters, whether its digest agrees.

    Raises:
        ConfigError: a key that cannot be used, a log that belongs to another configuration, or a
            split that needs measured data which are not to be had.
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
            told = f"{reason}; without these data only split=test can be rebuilt"
            raise DataUnavailable(told) from reason
        records = [_with_shares(record, config, folder, read_checkpoint) for record in records]
    plain = build_system(run, trusted)
    output = Path(config["output"]) if config.get("output") else folder / "replay"
    output.mkdir(parents=True, exist_ok=True)
    for record in records:
        system = systems.get(record["split"], plain)
        dwell = float(getattr(plain, "dwell", 1.0))
        yield _rebuild(record, system, output, dwell, str(config.get("device") or "cpu"))


def _run_config(
    config: Mapping[str, Any], read_checkpoint: Callable[..., Mapping[str, Any]]
) -> tuple[dict[str, Any], Path]:
    """The composed configuration of the run, and its folder."""
    run, checkpoint = config.get("run"), config.get("checkpoint")
    if (run is None) == (checkpoint is None):
        raise ConfigError("run", run, "given, or checkpoint, and not both")
    if run is None:
        assert checkpoint is not None
        return read_checkpoint(checkpoint)["config"], Path(checkpoint).parent
    path = Path(run) / RUN_CONFIG
    if not path.is_file():
        raise ConfigError("run", str(run), f"a folder that holds {RUN_CONFIG}, written by training")
    try:
        return json.loads(path.read_text()), Path(run)
    except json.JSONDecodeError as error:
        raise ConfigError("run", str(run), f"a folder with a whole {RUN_CONFIG}") from error


def _with_shares(
    record: dict[str, Any],
    config: Mapping[str, Any],
    folder: Path,
    read_checkpoint: Callable[..., Mapping[str, Any]],
) -> dict[str, Any]:
    """The record with the shares its sample was drawn with, which the checkpoint of a run whose
    distributions adapt keeps."""
    path = Path(config.get("checkpoint") or folder / "run.ckpt")
    if "shares" in record or record["split"] != "train" or not path.is_file():
        return record
    history = read_checkpoint(path)["stream"].get("table", {}).get("history", [])
    before = [shares for first, shares in history if first <= record["index"]]
    return record | {"shares": before[-1]} if before else record


def _records(config: Mapping[str, Any], run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to rebuild: one sample by index, or the worst of a log, the worst first."""
    index, log = config.get("index"), config.get("log")
    if (index is None) == (log is None):
        raise ConfigError("index", index, "given, or log, and not both")
    seed = run["seed"] if config.get("seed") is None else config["seed"]
    policy = run.get("stream", {}).get("on_nonfinite")
    common = {"seed": seed, "on_nonfinite": "substitute" if policy == "substitute" else "mask"}
    if index is not None:
        return [common | {"split": config.get("split") or "train", "index": index}]
    assert log is not None
    worst = config.get("worst", 5)
    if isinstance(worst, bool) or not isinstance(worst, int) or worst < 1:
        raise ConfigError("worst", worst, "a whole number, at least 1")
    if not Path(log).is_file():
        raise ConfigError("log", str(log), f"a JSON-lines file: {LOGS}")
    ranked: dict[tuple[Any, ...], tuple[float, dict[str, Any]]] = {}
    for line in read_log(Path(log)):
        if line.get("rlne"):
            score = _score(line["rlne"])
            record = line
        elif line.get("worst/index") is not None and line.get("worst/loss") is not None:
            score = line["worst/loss"]
            record = common | {"split": "train", "index": int(line["worst/index"])}
            record |= {"loss": score, "step": line.get("step")}
        elif line.get("policy") and {"index", "seed", "split"} <= set(line):
            score = np.inf
            record = line
        else:
            continue
        same = (record["seed"], record["split"], record["index"], record.get("rate"))
        if score is not None and (same not in ranked or ranked[same][0] < score):
            ranked[same] = (score, record)
    if not ranked:
        raise ConfigError(
            "log",
            str(log),
            f"lines of {LOGS}: with rlne, with worst/index and worst/loss, or with policy",
        )
    ordered = sorted(ranked.values(), key=lambda pair: -pair[0])
    return [record for _, record in ordered[:worst]]


def _score(errors: Mapping[str, float | None]) -> float | None:
    """The network's error; without one, the largest."""
    known = [error for error in errors.values() if error is not None]
    return errors.get(NETWORK, max(known, default=None))


def _rebuild(
    record: Mapping[str, Any], system: System, output: Path, dwell: float, device: str
) -> str:
    overrides = record.get("overrides") or {}
    if overrides:
        system = dataclasses.replace(system, **overrides)  # type: ignore[type-var]
    rate = overrides.get("rate")
    wanted = {"config_hash": config_hash(system)} | dict(record)
    wanted.pop("digest", None)  # a difference is told, not raised
    is_failure = "policy" in record
    sample = on_host(replay(system, wanted, device=device, raw=is_failure))
    found = digest(sample, 0)
    agrees = {None: "none logged", found: "agrees"}.get(record.get("digest"), "DIFFERS")
    name = f"{record['split']}-{record['index']}" + (f"-rate{rate:g}" if rate is not None else "")
    params = _own(row_of(sample.params, 0))
    told = [f"{record['split']} sample {record['index']}, seed {record['seed']}"]
    if overrides:
        told.append("with " + ", ".join(f"{key}={value}" for key, value in overrides.items()))
    if "rlne" in record:
        told.append("RLNE " + ", ".join(f"{n} {_short(e)}" for n, e in record["rlne"].items()))
    if "loss" in record:
        told.append(f"loss {_short(record['loss'])} at step {record['step']}")
    if is_failure:
        told += _failure(record, sample)
    _save_arrays(sample, output / f"{name}.npz")
    with np.errstate(all="ignore"):  # a sample that is not finite is drawn as far as it goes
        sample_gallery(sample, output / f"{name}.png", dwell=dwell, count=1, titles=[told[0]])
    drawn = ", ".join(f"{key}={_short(value)}" for key, value in params.items())
    told += [f"digest {agrees}", f"{output / name}.npz", drawn]
    return "; ".join(told)


def _own(params: dict[str, Any]) -> dict[str, Any]:
    """Of a mixture the parameters of the kind that the sample is; the other's are zeros."""
    if "is_real" not in params:
        return params
    other = "synthetic." if params["is_real"] else "real."
    return {name: value for name, value in params.items() if not name.startswith(other)}


def _failure(record: Mapping[str, Any], sample: Sample) -> list[str]:
    """What is not finite in a rebuilt sample, and whether its parameters are those logged."""
    arrays = {f"inputs/{name}": array for name, array in sample.inputs.items()}
    arrays |= {f"targets/{name}": array for name, array in sample.targets.items()}
    bad = [name for name, array in arrays.items() if not np.isfinite(array.numpy()).all()]
    at = f" at step {record['step']}" if record.get("step") is not None else ""
    told = [f"{', '.join(bad) or 'nothing'} not finite (policy {record['policy']}{at})"]
    if "params" in record:
        agree = json.dumps(record["params"]) == json.dumps(row_of(sample.params, 0))
        told.append(f"parameters {'agree' if agree else 'DIFFER'}")
    return told


def _save_arrays(sample: Sample, path: Path) -> None:
    """Arrays of a sample on the host under "inputs/fid" and so on, without the batch axis."""
    arrays = {f"inputs/{key}": tensor[0].numpy() for key, tensor in sample.inputs.items()}
    arrays |= {f"targets/{key}": tensor[0].numpy() for key, tensor in sample.targets.items()}
    arrays |= {f"params/{key}": np.asarray(values)[0] for key, values in sample.params.items()}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def _short(value: Any) -> str:
    """Numbers with four digits, lists of them in brackets."""
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_short(item) for item in value) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
