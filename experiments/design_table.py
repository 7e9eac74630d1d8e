"""The page on protocols by the bound, from experiments/results/designs.json."""

from __future__ import annotations

import numpy as np
from result_files import load, table


def designs() -> str:
    """Bounds and errors of networks on the protocol that there is and on the one chosen."""
    rows = load("designs").get("rows", [])
    if not rows:
        return ""
    shown = []
    for name in dict.fromkeys(row["system"] for row in rows):
        seeds = [row for row in rows if row["system"] == name]
        bound = seeds[0]["bound"]
        now, new = (np.array([row["network"][arm] for row in seeds]) for arm in ("now", "designed"))
        ratio = new / now
        spread = f"{ratio.mean():.3f} ({ratio.min():.3f} to {ratio.max():.3f})"
        shown.append([
            f"`{name}`", f"{bound['now']:.4f}", f"{bound['designed']:.4f}",
            f"{bound['designed'] / bound['now']:.3f}", f"{now.mean():.4f}", f"{new.mean():.4f}",
            spread, seeds[0]["chosen"],
        ])  # fmt: skip
    head = ["system", "bound now", "designed", "ratio", "network now", "designed",
            "ratio (of seeds)", "chosen"]  # fmt: skip
    steps, seeds = rows[0]["steps"], max(row["seed"] for row in rows) + 1
    return f"""# Does a better bound make a better network?

`python experiments/designs.py`. Networks of {seeds} seeds, {steps:,} steps each, on the protocol
that there is and on the one that `ipads-stream design` chose; test voxels and their noise in units
of M0 are the same. Errors are root mean squares over the prior's standard deviation, of logarithms
of relaxation times: `t2_map` T2 of 8 echoes (now: 10, 20 ... 80 ms) within 200 ms, `ann_mwf` the
fraction of 32 echoes within 60 ms (now: 33 ms), `drone` T1 and T2 of the same 200 frames. The bound
takes the prior to be normal; one with ends tells more, so that a network may lie below it.

{table(head, shown)}"""
