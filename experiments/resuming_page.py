"""The page of what was done to break runs: kills, resuming far on, command lines nobody means."""

from __future__ import annotations

from collections import Counter

from result_files import load, table

TITLE = "Runs that are killed, streams that are resumed, lines that nobody means"


def page() -> str:
    """What kills cost, what resuming takes, and how random lines end."""
    found = load("kills")
    runs, kills = (sum(row[key] for row in found.values()) for key in ("runs", "kills"))
    lost = sum(len(row["differ"]) > 0 for row in found.values())
    killed = [
        [kind, str(row["runs"]), str(row["kills"]),
         ", ".join(row["differ"]) or ("nothing" if row["kills"] else "not killed")]
        for kind, row in found.items()
    ]  # fmt: skip
    resumed = [
        [f"`{name}`", *(f"{row[kind][key]:,}" for kind in ("plain", "adaptive")
                        for key in ("bytes", "ms"))]
        for name, row in load("resuming").items()
    ]  # fmt: skip
    return f"""# {TITLE}

## Killed

`python experiments/kills.py`: trainings of 60 steps, killed (SIGKILL) at random moments and started
again by the command that began them. {kills} kills in {runs} runs; kinds in which anything differed
from the uninterrupted run: {lost}. Compared are weights, moments of the optimizer, the stream's
state and every row of every log but for clock times, bit by bit; on one machine, with as many
processes as before.

{table(["runs", "number", "kills", "what differs"], killed)}

## Resumed at step 1e9

`python experiments/resuming.py`: the state as JSON, and the time from that text to a stream that
goes on there. Every uniform parameter adapts in the adaptive ones, and all shares are there that a
state ever holds: it does not grow.

{table(["system", "bytes", "ms", "adaptive: bytes", "ms"], resumed)}

## Random command lines

{_lines()}
"""


def _lines() -> str:
    """How random command lines ended, by verb."""
    pieces, verbs = load("fuzz")["pieces"], dict[str, Counter[str]]()
    for piece in pieces:
        for verb, codes in piece["verbs"].items():
            if verb not in piece.get("changed_since", []):
                verbs.setdefault(verb, Counter()).update(codes)
    rows = [
        [f"`{verb}`", f"{codes.total():,}", *(f"{codes[code]:,}" for code in "021")]
        for verb, codes in sorted(verbs.items(), key=lambda item: -item[1].total())
    ]
    ran, faults = sum(x["lines"] for x in pieces), sum(len(x["faults"]) for x in pieces)
    since = sum(codes.total() for codes in verbs.values())
    late = sum(codes["None"] for codes in verbs.values())
    notes = "\n".join(f"- {note}" for piece in pieces for note in piece.get("notes", []))
    return f"""`python tests/security/fuzz.py`: every verb, system and file format, with values of
wrong kinds, not finite, huge, nested, in cycles, of other alphabets, keys deleted, files spoilt. A
fault is a traceback, another exit code, more than one line, 20 s of the processor or 2 GB.
{ran:,} lines ran, {faults} faults; the goal is 20,000 lines without one. The table holds the
{since:,} lines that ran after the last change to what their verb reads, {late} faults among them.

{notes}

{table(["verb", "lines", "ended with 0", "2, refused", "1, failed"], rows)}"""
