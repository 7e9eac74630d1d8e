"""Putting the stand-in in the place of CuPy, and taking it away."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType

from emulated import order
from emulated.counts import Counting, counting
from emulated.namespace import MODULES
from emulated.torch_side import mode, patches

# Imported anew inside, and forgotten outside, where another CuPy may be installed.
_COMPATIBLE = ("array_api_compat.cupy",)


def _taken_away() -> dict[str, ModuleType]:
    """CuPy's modules, which the interpreter knows no longer."""
    names = [n for n in sys.modules if n.partition(".")[0] == "cupy" or n.startswith(_COMPATIBLE)]
    return {name: sys.modules.pop(name) for name in names}


@contextmanager
def emulated_gpu() -> Iterator[Counting]:
    """The package finds a GPU inside; gives the counts of what it was asked for."""
    hidden = _taken_away()
    sys.modules.update(MODULES)
    with ExitStack() as stack:
        stack.callback(sys.modules.update, hidden)
        stack.callback(_taken_away)
        for patch in patches():
            stack.enter_context(patch)
        stack.enter_context(mode)
        order.current.device = 0
        counting.now.clear()
        yield counting
