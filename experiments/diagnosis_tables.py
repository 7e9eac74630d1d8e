"""The page on what a diagnosis finds, from experiments/results/diagnoses.json."""

from __future__ import annotations

from typing import Any

from result_files import load, table


def diagnoses() -> str:
    """How often a hidden imperfection is ranked first, and how well a second pool is detected."""
    result = load("diagnoses")
    if not result:
        return ""
    parts = [_protocol(name, found) for name, found in result.items()]
    return """# What explains that data are not what was simulated

`python experiments/diagnoses.py`. Trains of spin echoes with one imperfection each, simulated in
regions of 25 voxels at a signal-to-noise ratio of 100, T2 of 45 to 110 ms and within 10 % in a
region. B1 of 0.7 to 0.95, second pools of 10 to 25 % at 10 to 20 ms, constants of 2 to 10 %, a
first image off by 5 to 15 %, alternation of 2 to 8 %, noise of 4 to 16 coils. Seven imperfections
are tried; counted is which of them explains a region best, or none. Intervals are of 95 % (Wilson;
bootstrap over regions). Several coils tell by the floor of the noise, which the signals of a short
train do not reach. The chi-square is given the exact noise here, which measurements do not say; it
sees that something is wrong, the gain also what.

""" + "\n\n".join(parts)


def _protocol(name: str, found: dict[str, Any]) -> str:
    rows = []
    for row in found["ranked"]:
        right = "as simulated" if row["hidden"] == "nothing" else row["hidden"]
        others = {x: n for x, n in row["found"].items() if x != right}
        share = f"{100 * row['right'] / row['cases']:.0f} %"
        rows.append([
            row["hidden"], f"{row['right']} of {row['cases']}",
            f"{share} [{100 * row['low']:.0f}, {100 * row['high']:.0f}]",
            ", ".join(f"{x} {n}" for x, n in others.items()) or "nothing else",
        ])  # fmt: skip
    hidden = [row for row in found["ranked"] if row["hidden"] != "nothing"]
    right, cases = (sum(row[key] for row in hidden) for key in ("right", "cases"))
    pool = found["pool"]
    gain, chi2 = ("{:.3f} [{:.3f}, {:.3f}]".format(*pool[key]) for key in ("gain", "chi2"))
    head = ["hidden", "ranked first", "share [95 %]", "found instead"]
    return f"""## {name}

Of the six, {right} of {cases} ({100 * right / cases:.0f} %) are ranked first.

{table(head, rows)}

A second pool of 15 % at 15 ms, in {pool["cases"]} regions with and as many without it: area under
the curve of its gain {gain}, of the chi-square of the fitted decay {chi2}."""
