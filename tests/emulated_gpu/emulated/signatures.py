"""What CuPy offers, as written down by extract_signatures.py."""

from __future__ import annotations

import inspect
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

OFFERED: dict[str, Any] = json.loads((Path(__file__).parent / "cupy.json").read_text())


@lru_cache(None)
def _signature(written: str) -> inspect.Signature:
    kinds = inspect.Parameter
    parameters, by_name = [], False
    for part in written.split():
        name = part.strip("*=")
        if part == "*":
            by_name = True
        elif part.startswith("**"):
            parameters.append(kinds(name, kinds.VAR_KEYWORD))
        elif part.startswith("*"):
            parameters.append(kinds(name, kinds.VAR_POSITIONAL))
            by_name = True
        else:
            kind = kinds.KEYWORD_ONLY if by_name else kinds.POSITIONAL_OR_KEYWORD
            default = None if part.endswith("=") else kinds.empty
            parameters.append(kinds(name, kind, default=default))
    return inspect.Signature(parameters)


def bind(name: str, written: str | None, args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments by name; TypeError where the signature does not take them."""
    if written is None:
        return dict(kwargs)
    try:
        return dict(_signature(written.removeprefix("self ")).bind(*args, **kwargs).arguments)
    except TypeError as error:
        raise TypeError(f"cupy.{name}: {error}") from None
