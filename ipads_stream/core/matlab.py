"""MATLAB files of version 4 to 7, read in a process of their own.

SciPy's reader trusts the sizes within a file: of 6,000 damaged ones 27 ended the process that read
them, by signal 11 or 7. Here that process is another one; it hands over plain arrays.
"""

import io
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

PLAIN = "biufcSU"  # kinds of arrays that are handed over
LONGEST = 600.0  # s


def read_mat(key: str, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by name, without axes of length 1; those of a struct "name.field".

    Cells, and what else is no array, are left out.

    Args:
        key: that names the file in errors.
        path: of the file.

    Raises:
        ConfigError: memory cannot hold the file, or its cells claim more than it holds.
        ValueError: a file that cannot be read, or declares more than it holds.
    """
    # Here, so that the process below needs nothing of the package.
    from ipads_stream.core.files import check_size, free_memory, held_bytes
    from ipads_stream.core.mat_cells import check_cells

    check_size(key, path)
    check_cells(key, path)
    most = min(held_bytes(path, is_packed=True), free_memory())
    command = [sys.executable, "-P", __file__, str(path), str(most)]
    quiet = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST, env=quiet)
    except subprocess.TimeoutExpired:
        raise ValueError(f"its reader took more than {LONGEST:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(said[-1] if said and done.returncode > 0 else "damaged: its reader died")
    with np.load(io.BytesIO(done.stdout), allow_pickle=False) as archive:
        return {str(name): archive[f"{i}"] for i, name in enumerate(archive["names"])}


def _hand_over(path: str, most: int) -> None:
    """Writes the arrays of a file to the standard output, as an archive of NumPy."""
    from scipy.io import loadmat, whosmat

    declared = sum(math.prod(shape) for _, shape, _ in whosmat(path))
    if declared > most:
        raise ValueError(f"it declares {declared / 1e9:.3g} GB, more than it can hold")
    content: dict[str, Any] = loadmat(path, squeeze_me=True, struct_as_record=False)
    arrays: dict[str, np.ndarray] = {}
    for name, item in content.items():
        fields = getattr(item, "_fieldnames", None)
        parts = [(f"{name}.{x}", getattr(item, x)) for x in fields] if fields else [(name, item)]
        arrays |= {label: np.asarray(part) for label, part in parts if not name.startswith("__")}
    plain = {name: x for name, x in arrays.items() if x.dtype.kind in PLAIN}
    numbered: dict[str, Any] = {f"{i}": x for i, x in enumerate(plain.values())}
    np.savez(sys.stdout.buffer, names=np.array([*plain], dtype=str), **numbered)


if __name__ == "__main__":
    try:
        _hand_over(sys.argv[1], int(sys.argv[2]))
    except NotImplementedError:  # scipy's word for MATLAB 7.3, which is HDF5
        sys.exit("MATLAB 7.3; save it with '-v7'")
    except Exception as error:  # foreign bytes make the reader fail in many ways
        sys.exit(f"{type(error).__name__}: {error}")
