"""The page on what the compiler makes of the CUDA texts."""

from __future__ import annotations

from typing import Any

from result_files import load, table


def kernels() -> str:
    """What the compiler makes of the CUDA texts."""
    result = load("kernels")
    rows = []
    for name, now in result["now"].items():
        here, first = now["sm_90"], result["first"].get(name)
        was = ["", "", ""] if first is None else [
            f"{first['sm_90']['registers']}, {first['sm_90']['local']:,}",
            f"{first['sm_90']['instructions']}", f"{first['sm_90']['share']:.0%}"]  # fmt: skip
        rows.append([name, f"{here['registers']}, {here['local']:,}, {here['shared']:,}",
                     f"{here['instructions']}",
                     *(f"{now[arch]['share']:.0%}" for arch in ("sm_80", "sm_90", "sm_100")),
                     *was])  # fmt: skip
    head = ["kernel", "registers, local and shared memory, bytes", "instructions of a turn",
            "share on sm_80", "sm_90", "sm_100", "before: registers, local memory",
            "instructions", "share on sm_90"]  # fmt: skip
    spilled = [f"{name} ({row['spilled']} bytes on {arch})" for name, rows in result["now"].items()
               for arch, row in rows.items() if row["spilled"]]  # fmt: skip
    return f"""# What the compiler makes of the CUDA texts

`python experiments/sass_table.py`; no GPU was at hand. Columns without an architecture are of
sm_90.

Of every kernel the loop that holds most of the arithmetic, once around by the shortest way: its
instructions, and the useful multiply-adds on it over those that a multiprocessor could do in the
time of the busiest of issue slots and pipes. The share is a bound: scattered accesses, caches and
latency are left out, so that a kernel whose state lies in local memory is far below it. Random
words are integers. A turn is a pulse of an atom, a step of a spin (two of them in `Bloch` now), or
a peak: in exponentials of 8 points of a lane before and of 32 now. In readouts it is one sample of
one spin; in those of lines, which had none of their own before, 2,048 samples of it in float32 and
512 in float64. In z-spectra it is of 9 multiply-adds before and of 36 now.

{table(head, rows)}

Registers are spilled of: {", ".join(spilled) or "none"}.

## Below half

{_below_half(result)}
"""


def _below_half(result: dict[str, Any]) -> str:
    """The kernels that reach less than half of the ceiling on sm_90, and what they do instead."""
    kinds = ("single", "double", "integer", "memory", "special", "other")
    rows, integers = [], []
    for name, now in result["now"].items():
        here, first = now["sm_90"], result["first"].get(name)
        if not here["flops"]:
            integers.append(name)
        elif here["share"] < 0.5:
            before = "" if first is None else f"{first['sm_90']['share']:.0%}"
            mix = [str(here["mix"].get(kind, 0)) for kind in kinds]
            added = f"{here['flops'] / 2 / here['instructions']:.0%}"
            rows.append([name, f"{here['share']:.0%}", before, added, *mix])
    head = ["kernel", "share", "before", "multiply-adds among instructions", *kinds]
    return f"""On sm_90. Either few of a turn's instructions are multiply-adds, and indices,
conversions, loads or plain sums and products take the time, or, in readouts of lines, the result
needs a part of them alone. No multiply-adds are in {", ".join(integers)}.

{table(head, rows)}"""
