"""Writes emulated/cupy.json: what an installed CuPy offers, by name and signature; needs no GPU.

python tests/emulated_gpu/extract_signatures.py     # where CuPy can be imported
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import cupy

TO = Path(__file__).parent / "emulated" / "cupy.json"
MODULES = ("cupy", "cupy.fft", "cupy.linalg")


def signature_of(function: Any) -> str | None:
    """Parameters as "name", "name=" (with a default), "*name" or "**name"; after "*" by name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return from_docstring(function)
    written, by_name = [], False
    for each in parameters:
        if each.kind == each.KEYWORD_ONLY and not by_name:
            written.append("*")
            by_name = True
        by_name = by_name or each.kind == each.VAR_POSITIONAL
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        written.append(stars + each.name + ("" if each.default is each.empty else "="))
    return " ".join(written)


def from_docstring(function: Any) -> str | None:
    """The signature that Cython writes into the first line of a docstring."""
    first = (function.__doc__ or "").partition("\n")[0]
    found = re.match(r"[\w.]+\((.*)\)", first)
    if found is None:
        return None
    parts = [part.strip() for part in found.group(1).split(",") if part.strip()]
    # "int axis=-1" has a type in front, "*shape" none
    named = [re.sub(r"^[\w.]+ (?=\w)", "", part) for part in parts]
    return " ".join(re.sub(r"=.*", "=", part) for part in named if part != "self")


def main() -> None:
    offered: dict[str, Any] = {"version": cupy.__version__, "modules": {}, "methods": {}}
    for name in MODULES:
        module = cupy if name == "cupy" else getattr(cupy, name.partition(".")[2])
        entry: dict[str, Any] = {"functions": {}, "ufuncs": {}, "others": ""}
        for key in sorted(dir(module)):
            value = getattr(module, key)
            if key.startswith("_"):
                continue
            if isinstance(value, cupy.ufunc):
                entry["ufuncs"][key] = " ".join(value.types)
            elif callable(value) and not isinstance(value, type):
                entry["functions"][key] = signature_of(value)
            else:
                entry["others"] += f" {key}"
        offered["modules"][name] = entry
    for key in sorted(dir(cupy.ndarray)):
        if not hasattr(object, key):
            value = getattr(cupy.ndarray, key)
            offered["methods"][key] = signature_of(value) if callable(value) else None
    TO.write_text(json.dumps(offered, indent=1) + "\n")


if __name__ == "__main__":
    main()
