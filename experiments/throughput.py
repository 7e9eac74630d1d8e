"""Rates beside those of others and the limit of the processor, each row in one run.

    python experiments/throughput.py [row=NAME,...] [out=FILE.json] [quick]

Rows: stream (signals, hand-over), bloch (isochromats and their gradients), signal (whole images),
epg, bloch_mcconnell, distributions, phantoms, draws (whatever is drawn on the host, per number),
systems (of quantities: generation beside training); all where none is named. What a row measures
says its file in experiments/rates/. Peers are measured where
they can be imported: pip install '.[peers]'. Every row runs in a process of its own, one after the
other. Rows that a file of results holds already and that are not measured again stay in it.

"1 thread" is per second of processor time of the thread, which other work disturbs least; "2
threads" is by the clock, on a machine that should do nothing else meanwhile.
"""

from __future__ import annotations

import importlib
import json
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rates.floor import processor
from tqdm import tqdm

from ipads_stream import ConfigError, __version__
from ipads_stream.core.files import write_text

ROWS = (
    "stream", "bloch", "signal", "epg", "bloch_mcconnell", "distributions", "phantoms", "draws",
    "systems",
)  # fmt: skip


def measured(row: str, quick: bool) -> dict[str, Any]:
    """The numbers of one row."""
    return importlib.import_module(f"rates.{row}").measure(quick)


def main(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        print(__doc__)
        return 0
    quick = "quick" in words
    options = dict(word.partition("=")[::2] for word in words if word != "quick")
    rows = [row for row in options.pop("row", ",".join(ROWS)).split(",") if row]
    out = options.pop("out", None)
    if options:
        raise ConfigError("argument", next(iter(options)), "row, out, quick")
    for row in rows:
        if row not in ROWS:
            raise ConfigError("row", row, f"one or more of {', '.join(ROWS)}")
    path = None if out is None else Path(out)
    results = json.loads(path.read_text()) if path is not None and path.is_file() else {}
    results |= {
        "version": __version__,
        "processor": processor(),
        "python": platform.python_version(),
    }
    for row in tqdm(rows, desc="rows", disable=not sys.stderr.isatty()):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            results[row] = pool.submit(measured, row, quick).result()
        if path is not None:  # as soon as it is known: a later row may fail
            write_text(path, json.dumps(results, indent=1) + "\n")
    print(json.dumps({row: results[row] for row in rows}, indent=1))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ConfigError as error:
        print(f"throughput.py: {error}\n\n{__doc__}", file=sys.stderr)
        sys.exit(2)
