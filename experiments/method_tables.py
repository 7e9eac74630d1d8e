"""Pages on classical methods beside public ones, and on networks given cleaner data."""

from __future__ import annotations

from typing import Any

from result_files import load, table


def baselines() -> str:
    """Errors of our classical methods and of public implementations on the same samples."""
    rows, lost = [], []
    for part in load("baselines").get("parts", {}).values():
        for each in part:
            ours, theirs = each["ours"], each["theirs"]
            shown = ["not installed" if x is None else f"{x:.3g}" for x in (ours, theirs)]
            is_error = theirs not in (None, 0.0)
            ratio = f"{ours / theirs:.2f}" if is_error else ""
            if is_error and ours > theirs:
                lost.append(each["what"])
            rows.append([each["what"], each["measure"], *shown, each["whose"], ratio, each["note"]])
    if not rows:
        return ""
    head = ["what", "error", "ours", "theirs", "whose", "ours / theirs", "of"]
    named = "; ".join(dict.fromkeys(lost))
    behind = f"Ours is behind at: {named}." if lost else "Ours is nowhere behind."
    return f"""# Classical methods beside public implementations

`python experiments/public_baselines.py`, on the same simulated samples. {behind}

{table(head, rows)}

qmrpy (package index, MIT) holds translations of DECAES.jl and of qMRLab. What could not be run
here: hmsIST (a program without source or package), DECAES.jl itself (Julia), QSM.rs (Rust, with
crates that are on no registry within reach), MEDI, SEPIA and STI Suite (MATLAB). No public program
fits T2 to overlapping echoes without a network; compared is the fit after the echoes are parted.
What separates the fits is the one voxel in 500 whose echoes grow: ours gives it the longest T2 of
the system, qMRLab's a negative one that is held to the shortest. On other samples (split
"development of baselines") ours is level at nominal B1 and ahead where B1 is off, so it stays.
IST makes the 120 passes that were best on that split; 300, before, lost to hmsIST by 1 to 6 %.
A stronger opponent of our dipole inversions would be FANSI, MEDI or TGV; QSM.rs has
them all under MIT. Total variation here is FANSI's linear algorithm, written from its article, its
weight tuned.
qMRLab's dipole inversions take the field outside the mask to be 0, ours leave it open.
"""


def cleaner() -> str:
    """Errors of networks where noise falls below that of their training."""
    result = load("cleaner")
    rows = []
    for name, found in result.get("systems", {}).items():
        for target, errors in found["errors"].items():
            rows.append(_line(f"`{name}`", target, errors, found))
            if "without" in found:
                rows.append(_line("without the limit", target, found["without"][target], found))
    if not rows:
        return ""
    head = ["system", "target", *(f"{share:g}" for share in result["noise"]), "samples"]
    return f"""# Data cleaner than the training's

`python experiments/cleaner_data.py`. Short trainings, seed 0; errors on the same samples at shares
of the least noise of the training (of `oled`, which is trained without noise, too, of its most).
Errors: of signals the median RLNE, of quantities the RMSE, of the logarithm where that is their
scale, else in SI. Without the limit: the network is given clean data as they are.

{table(head, rows)}

Systems whose rows have no limit are trained to practically no noise: 1e-4 ppm of fields of some
0.1 ppm, or a signal-to-noise ratio of 20,000. That of `deepspio` changes nothing in a training as
short as this, whose error is not noise. Systems that are not listed have not been run; all but
the relaxation times, which estimate the signal-to-noise ratio itself, are held to it
by `tests/contracts/test_noise_contract.py`, with networks of few steps.
"""


def _line(name: str, target: str, errors: list[float], found: dict[str, Any]) -> list[str]:
    return [name, target, *(f"{error:.3g}" for error in errors), str(found["samples"])]
