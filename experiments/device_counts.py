"""What a batch of every system asks of a device: launches, synchronisations and uploads.

    python experiments/device_counts.py [--places]

Counted on an emulated GPU (tests/emulated_gpu), which needs g++ and no GPU. A launch costs the host
some 15 us, a synchronisation what is left of the batch, an upload of a constant the same again in
every batch. ``--places`` names the lines that asked.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "emulated_gpu"))

from emulated import emulated_gpu

from ipads_stream import Stream, load_system
from ipads_stream.config import conf_dir

VOLUME = ["shape=[12,10,8]"]
# Small batches of small samples: the counts do not follow their size.
SMALL = {
    "deepspio": VOLUME,
    "oled": ["sequence.matrix=32"],
    "drone": ["schedule.num_frames=30"],
    "qsmnet": VOLUME,
    "qsmnet_unrolled": VOLUME,
}
BATCH = 4


def counted(name: str) -> tuple[Counter[str], Counter[str], Counter[str], Counter[str]]:
    """Launches, synchronisations and uploads of one batch by place, and those uploads that were
    the same in the batch before."""
    system = load_system(name, SMALL.get(name, []))
    with emulated_gpu() as counting:
        stream = Stream(system, device="cuda", threads=0, batch_size=BATCH)
        stream.batch(0)  # what is kept for all batches is made here
        with counting.of() as before:
            stream.batch(1)
        with counting.of() as now:
            stream.batch(2)
    again = Counter(place for place, _ in before.contents & now.contents)
    return now.launches, now.synchronisations, now.uploads, again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--places", action="store_true")
    parser.add_argument("systems", nargs="*")
    given = parser.parse_args()
    names = given.systems or sorted(path.stem for path in (conf_dir() / "system").glob("*.yaml"))
    print("| system | launches | synchronisations | uploads | of them again |")
    print("|---|---|---|---|---|")
    for name in names:
        kinds = counted(name)
        print(f"| {name} | {' | '.join(str(kind.total()) for kind in kinds)} |")
        if given.places:
            titles = ("launch", "synchronisation", "upload", "again")
            for title, kind in zip(titles, kinds, strict=True):
                for place, number in kind.most_common():
                    print(f"    {title} {number} {place}")


if __name__ == "__main__":
    main()
