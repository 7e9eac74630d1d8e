"""Planes in array files: MATLAB .mat, NumPy .npz and .npy."""

from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.evaluation.planes_recording import (
    Axis,
    Recording,
    Rows,
    UnusableData,
    measured_axis,
)


def read_arrays(path: Path, variable: str | None) -> Recording | Rows:
    """Read a .mat, .npz or .npy file.

    Args:
        path: the file.
        variable: name of the array (.mat, .npz); None takes the only complex array, or the only
            struct with the fields `pos` and `neg`.

    Returns:
        Rows of t1 FIDs with their axes, or the recording of an echo/anti-echo struct.

    Raises:
        UnusableData: not readable, no such variable, or several.
    """
    content = _load(path)
    direct = _stored_axis(content.pop("direct", None), "direct")
    indirect = _stored_axis(content.pop("indirect", None), "indirect")
    item = _choose(content, variable)
    if not _is_struct(item):
        return Rows(np.asarray(item), direct, indirect)
    if item.pos.shape != item.neg.shape or item.pos.ndim != 2:
        raise UnusableData(f"pos {item.pos.shape} and neg {item.neg.shape}; allowed: equal, 2D")
    traces = np.stack([item.pos.T, item.neg.T], axis=1).reshape(-1, len(item.pos))
    return Recording(traces, "echo-antiecho", direct, indirect)


def _load(path: Path) -> dict[str, Any]:
    """Give what the file holds by name; a .npy file's array is called "array"."""
    try:
        if path.suffix == ".mat":
            import scipy.io

            content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
        else:
            content = np.load(path, allow_pickle=False)
            content = dict(content) if path.suffix == ".npz" else {"array": content}
    except NotImplementedError:  # scipy's word for MATLAB 7.3, which is HDF5
        raise UnusableData("a MATLAB 7.3 file; save it with '-v7'") from None
    except Exception as error:  # foreign bytes make these parsers fail in many ways
        raise UnusableData(f"not a readable {path.suffix} file ({error})") from error
    return {name: item for name, item in content.items() if not name.startswith("__")}


def _choose(content: dict[str, Any], variable: str | None) -> Any:
    fitting = [name for name, item in content.items() if _is_struct(item) or np.iscomplexobj(item)]
    chosen = fitting[0] if variable is None and len(fitting) == 1 else variable
    chosen = next(iter(content)) if chosen is None and len(content) == 1 else chosen
    if chosen is None or chosen not in content:
        asked = "no single complex array" if variable is None else f"no variable {variable!r}"
        raise UnusableData(f"{asked}; name one with variable=..., there are: {sorted(content)}")
    return content[chosen]


def _is_struct(item: object) -> bool:
    return hasattr(item, "pos") and hasattr(item, "neg")


def _stored_axis(values: Any, name: str) -> Axis:
    """Make an axis of a stored width in Hz, Larmor frequency in Hz and centre in ppm."""
    if values is None:
        return Axis()
    values = np.asarray(values)
    if values.shape != (3,) or values.dtype.kind not in "iuf":
        raise UnusableData(
            f"{name} has shape {values.shape} and type {values.dtype}; store the numbers width, "
            "frequency, centre"
        )
    return measured_axis("?", *values)
