"""Any sample that was ever logged, built again."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.description import config_hash
from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import from_json
from ipads_stream.core.sample import Sample
from ipads_stream.stream.adaptation import with_shares
from ipads_stream.stream.stream import Stream
from ipads_stream.systems import System


def digest(sample: Sample, row: int) -> str:
    """SHA-256 over the bytes of one sample's inputs and targets, names in order."""
    sha = hashlib.sha256()
    for group in (sample.inputs, sample.targets):
        for name in sorted(group):
            array = np.ascontiguousarray(group[name][row].cpu().numpy())
            sha.update(f"{name}:{array.dtype.str}:{array.shape}".encode())
            sha.update(array.tobytes())
    return sha.hexdigest()


def replay(
    system: System, record: dict[str, Any], *, device: str = "cpu", raw: bool = False
) -> Sample:
    """The sample (a batch of one) that a logged provenance record names.

    Args:
        system: as configured when the record was written.
        record: of ``Provenance.record`` or a line of failures.jsonl: has seed, split, index,
            config_hash, the policy for non-finite samples (without one they are masked) and, if the
            sample itself was logged, digest.
        device: to render on; only the same backend gives the same bits.
        raw: build the sample as it came out of the simulator, whatever the policy made of it; it is
            not compared with the digest.

    Raises:
        ConfigError: the record lacks a key, belongs to another configuration, or the rebuilt
            sample differs from the logged digest.
        SimulationError: the sample is not finite, under policy ``raise``.
    """
    for key in ("seed", "split", "index", "config_hash"):
        if key not in record:
            raise ConfigError(f"record.{key}", None, "present in every logged record")
    here = config_hash(system)
    if record["config_hash"] != here:
        allowed = f"{here}, the hash of the configuration given"
        raise ConfigError("record.config_hash", record["config_hash"], allowed)
    system, seed, split = with_shares(system, record.get("shares")), record["seed"], record["split"]
    policy = record.get("on_nonfinite", record.get("policy", "mask"))
    stream = Stream(
        system, seed=seed, split=split, batch_size=1, device=device, threads=0, on_nonfinite=policy
    )
    sample = stream.sample([record["index"]], raw=raw)
    logged = None if raw else record.get("digest")
    if logged is not None and logged != digest(sample, 0):
        raise ConfigError("record.digest", logged, f"{digest(sample, 0)}, of the rebuilt sample")
    return sample


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a JSON-lines log in UTF-8, without lines that a killed run left unfinished."""
    with path.open(encoding="utf-8") as lines:
        try:
            for line in lines:
                try:
                    record = from_json(line)
                except ValueError:
                    continue
                if isinstance(record, dict):
                    yield record
        except UnicodeDecodeError as error:
            raise ConfigError("log", str(path), f"a JSON-lines file in UTF-8 ({error})") from error
