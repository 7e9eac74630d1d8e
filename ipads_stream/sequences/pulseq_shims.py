"""Extensions of blocks in Pulseq files, and RF shims: what several transmit channels play."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex

from ipads_stream.sequences.pulseq_text import Text, parse


def read_shims(
    path: str | Path, *, default: Any = None, conjugate: bool = True
) -> Complex[np.ndarray, "P channels"]:
    """The RF shims of a Pulseq file, one of each pulse that is played, in the order of time.

    Args:
        path: of the file.
        default: of pulses that have none, complex, (channels,).
        conjugate: as of read_pulseq.

    Raises:
        ValueError: not a Pulseq file, a pulse without a shim where there is no default, or shims of
            different numbers of channels.

    Source: Pulseq specification 1.5.1.
    """
    text = parse(Path(path))
    shims = []
    for number, row in text.blocks.items():
        if row[1]:
            shim = extensions(text, row[6])[1]
            if not shim and default is None:
                raise ValueError(f"{path}: block {number}: no RF shim: default=(one per channel)")
            shims.append(tuple(text.row("RF_SHIMS", shim)) if shim else tuple(default))
    if len({len(shim) for shim in shims}) > 1:
        counts = sorted({len(shim) for shim in shims})
        raise ValueError(f"{path}: RF shims of {counts} channels: one number is allowed")
    table = np.array(shims, np.complex128)
    return table.conj() if conjugate else table


def extensions(text: Text, number: int) -> tuple[int, int, int]:
    """Numbers of the rotation, the RF shim and the soft delay of a block."""
    found = {"ROTATIONS": 0, "RF_SHIMS": 0, "DELAYS": 0}
    seen: set[int] = set()
    while number:
        if number in seen:
            raise ValueError(f"[EXTENSIONS]: row {number} follows itself")
        seen.add(number)
        kind, event, number = text.row("EXTENSIONS", number)
        if kind not in text.extensions:
            raise ValueError(f"[EXTENSIONS]: no extension is {kind}")
        name = text.extensions[kind]
        if name in found:
            if found[name]:
                raise ValueError(f"two of extension {name} in a block")
            found[name] = event
    return found["ROTATIONS"], found["RF_SHIMS"], found["DELAYS"]


def driven(text: Text, shim: int, drive: Any, sign: int) -> complex:
    """What a pulse is multiplied by where its channels drive spins together."""
    weights = np.asarray(text.row("RF_SHIMS", shim))
    if drive is None:
        allowed = f"drive=({weights.size} numbers), the field of each channel relative to nominal,"
        allowed += " or drive='spins'"
        raise ValueError(f"an RF shim of {weights.size} channels needs {allowed}")
    if drive.shape != weights.shape:
        raise ValueError(f"drive: shape {drive.shape}; {weights.shape} is allowed")
    # A conjugated phase is that of pulses, and channels add as in the file.
    total = np.sum(weights * drive)
    return complex(np.conj(total) if sign < 0 else total)
