"""Tables of the systems of undersampled signals: simulated, measured, and stored sets."""

from __future__ import annotations

from typing import Any

from result_files import load, table

RATES = ("15%", "20%", "25%", "40%", "50%")
METHODS = ("zero-filling", "IST", "LRHM", "network", "network + low rank")


def synthetic() -> str:
    """Median RLNE per method and rate; the network as mean ± SD over training seeds."""
    short, long = load("nmr1-demo"), load("nmr1-long")
    rows = []
    for method in METHODS:
        cells = [short[f"{method} {rate}"]["rlne_median"] for rate in RATES]
        seeds = f" (n = {cells[0]['seeds']})" if cells[0]["seeds"] > 1 else ""
        name = f"{method}{seeds}".replace("network", "network, 100 s")
        rows.append([name, *(error(cell) for cell in cells)])
    if long:
        cells = [long[f"network {rate}"]["rlne_median"] for rate in RATES]
        rows.append(["network, 10 min (n = 1)", *(error(cell) for cell in cells)])
    return table(["median RLNE at", *RATES], rows)


def error(cell: dict[str, Any]) -> str:
    """A mean with its standard deviation over seeds, where there is one."""
    spread = "" if cell["sd"] is None else f" ± {cell['sd']:.3f}"
    return f"{cell['mean']:.3f}{spread}" if cell["mean"] >= 5e-4 else f"{cell['mean']:.0e}"


def measured() -> str:
    """RLNE and peak correlation on the measured planes."""
    short, long = load("nmr2-demo"), load("nmr2-long")
    regions = {"ubiquitin": ("all", "5.6 to 10.5 ppm"), "15N13C": ("all", "-5 to 25 ppm")}
    columns = ((short, "IST"), (short, "LRHM"), (short, "network"), (long, "network"))
    rows = []
    for plane, names in regions.items():
        for region in names:
            for rate in ("15%", "20%", "25%", "50%"):
                row = [plane, region, rate]
                for results, method in columns:
                    cell = results.get(plane, {}).get(f"{region}: {method} {rate}")
                    row.append("–" if cell is None else _scores(cell, 4))
                rows.append(row)
    head = ["plane", "rows", "sampled", "IST", "LRHM", "network, 100 s", "network, 10 min"]
    return table(head, rows)


def _scores(cell: dict[str, Any], digits: int) -> str:
    r, absorptive = (f"{cell[score]['mean']:.{digits}f}" for score in ("r", "r_absorptive"))
    return f"{cell['rlne']['mean']:.3f} / {r} / {absorptive}"


def without_window(method: str) -> str:
    """Scores of the whole ubiquitin plane at 25 % without a window along t1."""
    return _scores(load("nmr2-demo")["ubiquitin, no t1 window"][f"all: {method} 25%"], 3)


def fixed() -> str:
    """Stored sets against the stream."""
    rows = []
    for name, by_rate in load("fixed").get("arms", {}).items():
        ratio = by_rate["25%"]["over_stream"]
        interval = "" if name == "stream" else f" [{ratio['low']:.2f}, {ratio['high']:.2f}]"
        rows.append(
            [name, *(error(by_rate[rate]) for rate in ("15%", "25%", "50%")),
             f"{ratio['mean']:.2f}{interval}"]
        )  # fmt: skip
    head = ["training data", "15 %", "25 %", "50 %", "error over the stream's, 25 %"]
    return table(head, rows) if rows else ""


OTHERS = ("IST", "LRHM")
MEASURED = ("25 %, ubiquitin", "25 %, 15N13C")  # planes of experiments/cosy_planes.py
SPARSE = ("sparse Bayes", "sparse Bayes, mirrored")


def cosy() -> str:
    """Cross peaks of COSY-like planes that are lost, by height."""
    planes = load("cosy")["planes"]
    methods = list(dict.fromkeys(row["method"] for rows in planes.values() for row in rows))
    lines = []
    for name in planes:
        rows = {(row["method"], row["height"]): row for row in planes[name]}
        for height in dict.fromkeys(height for _, height in rows):
            each = [rows.get((method, height)) for method in methods]
            cells = [f"{row['lost']} + {row['raised']}" if row else "–" for row in each]
            lines.append([name, height, str(rows["IST", height]["peaks"]), *cells])
        seconds = [f"{row['seconds']:g} s" if row else "–" for row in each]
        lines.append([name, "CPU time", "", *seconds])
        if name in MEASURED:  # of simulated ones the diagonal decides the error
            errors = [f"{row['rlne']:.3f}" if row else "–" for row in each]
            lines.append([name, "RLNE", "", *errors])
    _, lost = _lost(planes["25 %"])
    sums = []
    for name in planes:
        many, by_method = _lost(planes[name])
        shown = (method for method in (*OTHERS, "lines", *SPARSE) if method in by_method)
        each = ", ".join(f"{method} {by_method[method]}" for method in shown)
        sums.append(f"- {name}, {many} peaks: {each}.")
    after, alone = lost["network + lines"], lost["lines"]
    start = "The network's start helps" if after < alone else "The network's start does not matter"
    helps = f"{start}: {after} are lost with it and {alone} with zeros in its place."
    return f"""# Low cross peaks beside a tall diagonal

`python experiments/cosy_planes.py`. Simulated COSY of dynamic range 300:1, of whose t1 points
a share is kept, by one schedule; counted are cross peaks that stand clear of the diagonal and of
noise. In each class of heights, shares of the tallest point: lost peaks, of which less than half of
the height is left, + raised ones, which have half as much again. A row has about 5 cross peaks
where no number is given. Planes with the name of a data set are measured, of two nuclei, without
a diagonal.

{table(["plane", "height", "peaks", *methods], lines)}

Lost of all heights are by

{chr(10).join(sums)}

Sparse Bayesian learning (`baselines/signals/sparse_bayes.py`) fits powers of a fine grid of lines;
neighbouring rows share them, and mirrored, where the diagonal is known, they lean on those of the
mirror image: what spin A shows at B, B shows at A. {_exceptions(planes)}
Its settings were found on planes and schedules of other seeds, where the grid mattered most, then
neighbours, and in crowded rows mirror images. Lines are fitted row by row, at most 12 to a row; a
crowded row has more than that and than its points can tell apart.
Simulated mirror images have one height; of the plane that is called unequal, heights down to
e^-1.5 and phases of their own, as only positions of measured ones are sure to be symmetric. Points
held back decide whether mirror images are used at all.

The network (six phases, 1,200 steps of 16) was trained on amplitudes from 0.003 to 1, uniform in
their logarithm, and on up to 20 lines of a signal, at 15 to 50 %. That alone does not keep low
peaks: the fit of lines does. {helps}

A squared sine bell along t2, as such planes are processed, is part of all but one. With a
cosine, as files are read unless told otherwise, the dispersive tails of the diagonal put more lines
into a row than a quarter of its points can tell apart, and mirror images, which tails have not,
mislead where points held back do not show it.

IST makes 300 passes here: the 120 that are its default, and serve the error of signals best, lose
more low peaks. One schedule and one training: differences of a few peaks are chance. A dash: not
run.

`ipads-stream evaluate solver=sparse t2_window=bell` does the same with a measured plane,
`solver=lines` what the lines do.
"""


def _exceptions(planes: dict[str, list[dict[str, Any]]]) -> str:
    """Where it loses some peaks of a class and not fewer than both others."""
    found = []
    for plane, rows in planes.items():
        lost = {(row["method"], row["height"]): row["lost"] for row in rows}
        for height in dict.fromkeys(row["height"] for row in rows):
            others = {name: lost[name, height] for name in OTHERS if (name, height) in lost}
            ours = lost.get((SPARSE[1], height), lost[SPARSE[0], height])
            if ours >= min(others.values()) and ours > 0:
                each = ", ".join(f"{method} {count}" for method, count in others.items())
                found.append(f"{plane}, {height} ({ours}; {each})")
    start = "In every class it loses none, or fewer than IST and LRHM"
    return f"{start}, but {'; '.join(found)}." if found else f"{start}."


def _lost(rows: list[dict[str, Any]]) -> tuple[int, dict[str, int]]:
    """Peaks of all heights, and how many of them each method loses."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    lost = {name: sum(row["lost"] for row in found) for name, found in by_method.items()}
    return sum(row["peaks"] for row in by_method["IST"]), lost
