"""Writes what the compiler makes of every CUDA text: registers, memory, instructions, ceiling.

    python experiments/sass_table.py

Needs NVRTC, cuda-core and nvdisasm, but no GPU. For every kernel the loop that holds most of its
arithmetic is followed once around by the shortest way through it: slow paths and what is skipped
on most turns are left out. Its time on a multiprocessor is that of the busiest of the issue slots
and the pipes, at the throughputs of the CUDA programming guide; its share is the useful
multiply-adds on that way over those that the multiprocessor could have done meanwhile. It bounds
what a GPU reaches from above: how far accesses scatter, caches and latency are left out. A kernel
without a loop is followed from start to end.
"""

from __future__ import annotations

import collections
import functools
import heapq
import io
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any

from result_files import RESULTS, ROOT, load

from ipads_stream.core.backend import cuda_text
from ipads_stream.core.files import write_text
from ipads_stream.physics.epg.launch import REGISTERS, lanes_of
from ipads_stream.physics.spectroscopy.exponentials import lanes_of as peak_lanes

PACKAGE = ROOT / "ipads_stream"
ARCHITECTURES = ("sm_80", "sm_90", "sm_100")
# Results per clock and multiprocessor: multiply-adds in single and double, integers, the special
# functions, conversions, memory and shuffles; a warp is 32 lanes, four are issued per clock.
RATES = {
    "sm_80": {"single": 64, "double": 32, "integer": 64, "special": 16, "memory": 32},
    "sm_90": {"single": 128, "double": 64, "integer": 64, "special": 16, "memory": 32},
    "sm_100": {"single": 128, "double": 64, "integer": 64, "special": 16, "memory": 32},
}
WARP, ISSUED = 32, 128
FLOPS = {"FFMA": 2, "FADD": 1, "FMUL": 1, "FFMA2": 4, "FADD2": 2, "FMUL2": 2, "DFMA": 2,
         "DADD": 1, "DMUL": 1}  # fmt: skip
PIPES = {
    "single": r"F(FMA|ADD|MUL)\d?$",
    "double": r"D(FMA|ADD|MUL|SETP)$",
    "special": r"(MUFU|F2F|F2I|I2F|FRND)$",
    "memory": r"(LD|ST|RED|ATOM|SHFL|MATCH)",
    "integer": r"(I[A-WYZ]|LOP|LEA|SHF|PRMT|ISETP|VIADD|BMSK|SGXT|FLO|POPC|FSETP|FSEL|FMNMX|SEL)",
}


@dataclass(frozen=True)
class Build:
    """A kernel of a text, as one of the ways in which it is compiled.

    Attributes:
        name: of the row.
        text: path in the package.
        entry: name of the kernel.
        real: float or double.
        defines: of the compiler beside REAL.
        outwards: whether a step is a turn of the loop around the innermost one.
        useful: part of the arithmetic that the result needs.
    """

    name: str
    text: str
    entry: str
    real: str = "float"
    defines: tuple[tuple[str, str], ...] = ()
    outwards: bool = False
    useful: float = 1.0


def builds() -> list[Build]:
    """Every kernel of the package, in the ways in which it is compiled most."""
    bloch, epg = "physics/bloch/kernels/", "physics/epg/kernels/"
    exponentials = "physics/spectroscopy/kernels/exponentials.cu"
    exchange = "physics/exchange/kernels/bloch_mcconnell.cu"
    made = [Build("Philox words", "core/philox.cu", "words"),
            Build("Philox normals", "core/philox.cu", "normals"),
            Build("Bloch, plan", f"{bloch}plan.cu", "plan", "double")]  # fmt: skip
    for real, ring in (("float", "4"), ("double", "8")):
        made += [
            Build(f"Bloch, {real}", f"{bloch}evolve.cu", "bloch", real),
            Build(f"Bloch adjoint, back, {real}", f"{bloch}adjoint.cu", "bloch_back",
                  real, outwards=True),
            Build(f"slices, {real}", f"{bloch}slices.cu", "slice_images", real),
            Build(f"spins of shots, {real}", f"{bloch}shot.cu", "shot_spins", real),
            Build(f"factors of lines, {real}", f"{bloch}lines.cu", "line_factors", real),
            Build(f"readout, {real}", f"{bloch}readout.cu", "readout", real),
            # The rest of its time goes into forming the factors.
            Build(f"readout of lines, {real}", f"{bloch}readout.cu", "readout_lines", real,
                  useful=0.53 if real == "float" else 0.25),
            Build(f"EPG of any train, 63 orders, {real}", f"{epg}general.cu", "train", real,
                  (("LENGTH", "128"), ("LANES", ring), ("ON_CHIP", "1"))),
        ]  # fmt: skip
    for points in (128, 256, 1024):
        lanes = (("LANES", str(peak_lanes(points))),)
        name = f"exponentials, {points} points"
        # 8 operations a point, in which the start of a peak takes no part
        made.append(Build(name, exponentials, "damped_exponentials", "float", lanes, useful=0.84))
    for pools in range(1, 6):
        # Lanes left over, and the column behind the square, which all lanes of a row compute.
        used = 32 // pools**2 * pools**2 / 32 * (3 * pools + 1) / (4 * pools)
        defines = (("POOLS", str(pools)),)
        made.append(Build(f"z-spectra, {pools} pools", exchange, "z_spectra", "double", defines,
                          useful=used))  # fmt: skip
    for orders, real in ((20, "float"), (20, "double"), (56, "float"), (96, "float")):
        for entry, parts in (("fisp_real", 1), ("fisp_complex", 2), ("cpmg", 1)):
            name, size = f"{entry}, {orders} orders, {real}", parts * (4 if real == "float" else 8)
            for text, registers in REGISTERS.items():
                lanes, suffix = lanes_of(orders, size, registers), ", adjoint" * (text == "adjoint")
                defines = (("ORDERS", str(orders)), ("LANES", str(lanes)))
                made.append(Build(name + suffix, f"{epg}{text}.cu", entry, real, defines))
    return [*made, Build("rasterize", "phantoms/kernels/rasterize.cu", "rasterize"),
            Build("Poisson-gap schedules", "acquisition/kernels/poisson_gap.cu", "poisson_gap"),
            Build("interpolate", "phantoms/kernels/interpolate.cu", "interpolate")]  # fmt: skip


@functools.cache
def _compiled(text: str, real: str, defines: tuple[tuple[str, str], ...], arch: str) -> Any:
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(
        arch=arch, std="c++17", define_macro=[("REAL", real), *defines], ptxas_options=["-v"]
    )
    log = io.StringIO()
    program = Program(cuda_text(PACKAGE / text), "c++", options)
    return bytes(program.compile("cubin", logs=log).code), log.getvalue()


def compiled(build: Build, arch: str) -> tuple[bytes, dict[str, int]]:
    """The cubin of a build, and its registers and bytes spilled, of local and of shared memory."""
    cubin, log = _compiled(build.text, build.real, build.defines, arch)
    pattern = rf"Compiling entry function '{build.entry}'(.*?)(?=Compiling entry|\Z)"
    body = re.search(pattern, log, re.DOTALL)[1]
    return cubin, {
        "registers": int(re.search(r"Used (\d+) registers", body)[1]),
        "spilled": sum(int(n) for n in re.findall(r"(\d+) bytes spill", body)),
        "local": int(re.search(r"(\d+) bytes stack frame", body)[1]),
        "shared": sum(int(n) for n in re.findall(r"(\d+) bytes smem", body)),
    }


def disassembler() -> str | None:
    """nvdisasm on the path or of its wheel, None where there is none."""
    found = shutil.which("nvdisasm")
    if found is None:
        from cuda.pathfinder import find_nvidia_binary_utility

        found = find_nvidia_binary_utility("nvdisasm")
    return found


@dataclass
class Block:
    """Instructions that follow one another, and the labels or numbers of blocks after them."""

    labels: list[str]
    codes: list[str]
    after: list[Any]


def blocks_of(cubin: bytes, entry: str, nvdisasm: str) -> list[Block]:
    """The basic blocks of a kernel in the order of their addresses."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        done = subprocess.run(
            [nvdisasm, "-c", file.name], capture_output=True, text=True, check=True
        )
    start = done.stdout.index(f".text.{entry}:")
    body = done.stdout[start:].split("\n.section", 1)[0].split("//--------------------- .", 1)[0]
    blocks = [Block([], [], [])]
    for line in body.splitlines()[1:]:
        label = re.match(r"\s*(\.L_\w+):", line)
        if label:
            if blocks[-1].codes:
                blocks[-1].after.append(len(blocks))
                blocks.append(Block([], [], []))
            blocks[-1].labels.append(label[1])
            continue
        code = re.match(r"\s*/\*[0-9a-f]+\*/\s+(@!?U?P\w+\s+)?([\w.]+)(.*)", line)
        if code is None:
            continue
        guard, name, rest = code.groups()
        stem = name.split(".")[0]
        blocks[-1].codes.append(stem)
        target = re.search(r"`\((\.L_\w+)\)", rest)
        # A call comes back; what waits for other lanes goes on.
        if stem in ("BRA", "BRX", "JMP", "EXIT", "RET", "BREAK"):
            if stem in ("BRA", "JMP") and target:
                blocks[-1].after.append(target[1])
            conditional = guard is not None or bool(re.match(r"\s*!?U?P\d|\s*(DIV|CONV)", rest))
            if conditional:
                blocks[-1].after.append(len(blocks))
            blocks.append(Block([], [], []))
    names = {label: i for i, block in enumerate(blocks) for label in block.labels}
    for block in blocks:
        block.after = [names.get(x, x) for x in block.after]
        block.after = [x for x in block.after if isinstance(x, int) and x < len(blocks)]
    return blocks


def _flops(codes: list[str], prefix: str) -> int:
    return sum(FLOPS.get(code, 0) for code in codes if code.startswith(prefix))


def hot_path(blocks: list[Block], prefix: str, outwards: bool = False) -> list[str]:
    """The instructions once around the loop that holds most of the arithmetic.

    prefix: F where it is single, D where it is double; outwards: whether a step is a turn of
    the loop around the innermost one.
    """
    other = "F" if prefix == "D" else "D"

    def worth(i: int) -> int:
        return _flops(blocks[i].codes, prefix) - 2 * _flops(blocks[i].codes, other)

    loops = {
        (after, i)
        for i, block in enumerate(blocks)
        for after in block.after
        if after <= i and len(block.codes) > 1
    }
    inner = [ends for ends in loops
             if not any(ends[0] <= first and last < ends[1] for first, last in loops)]  # fmt: skip
    # A loop that reads nothing is a way to one number, or a loop unrolled to its end.
    reading = [ends for ends in inner if any(code.startswith(("LD", "SHFL"))
               for i in range(ends[0], ends[1] + 1) for code in blocks[i].codes)]  # fmt: skip
    inner = reading or inner
    places = [i for first, last in inner for i in range(first, last + 1)]
    if not places:  # a thread does its item once
        reached = [i for i in range(len(blocks)) if _way(blocks, 0, i)]  # no slow path of a call
        hot = max(reached, key=lambda i: len(blocks[i].codes))
        ends = [i for i, block in enumerate(blocks) if not block.after]
        tails = [_way(blocks, hot, last)[1:] for last in ends if last != hot]
        way = _way(blocks, 0, hot) + min(filter(None, tails), key=len, default=[])
        return [code for i in way for code in blocks[i].codes]
    for hot in sorted(set(places), key=worth, reverse=True):
        cut = {(last, first) for first, last in inner if outwards and first <= hot <= last}
        ways = [
            _way(blocks, after, hot, cut) for after in blocks[hot].after if (hot, after) not in cut
        ]
        if any(ways):  # else it lies between the ends of a loop that it is no part of
            sizes = {sum(len(blocks[i].codes) for i in way): way for way in ways if way}
            return [code for i in sizes[min(sizes)] for code in blocks[i].codes]
    return []


def _way(blocks: list[Block], start: int, stop: int, cut: Any = ()) -> list[int]:
    """The shortest way from a block to another, both included, without the edges that are cut."""
    queue, seen = [(0, start, (start,))], set()
    while queue:
        length, here, way = heapq.heappop(queue)
        if here == stop:
            return list(way)
        if here not in seen:
            seen.add(here)
            for after in blocks[here].after:
                if (here, after) not in cut:
                    heapq.heappush(queue, (length + len(blocks[after].codes), after, (*way, after)))
    return []


def mix(codes: list[str]) -> dict[str, int]:
    """How many instructions each pipe gets."""
    pipes = (next((pipe for pipe, pattern in PIPES.items() if re.match(pattern, code)), "other")
             for code in codes)  # fmt: skip
    return dict(collections.Counter(pipes))


def share(codes: list[str], real: str, arch: str) -> float:
    """Multiply-adds over those that the multiprocessor could have done in the time."""
    rates, kind = RATES[arch], "double" if real == "double" else "single"
    clocks = [n * WARP / rates[pipe] for pipe, n in mix(codes).items() if pipe in rates]
    flops = _flops(codes, "D" if real == "double" else "F")
    return flops * WARP / (2 * rates[kind] * max([*clocks, len(codes) * WARP / ISSUED]))


def row(build: Build, arch: str, nvdisasm: str) -> dict[str, Any]:
    """What the table says of a build on an architecture."""
    cubin, used = compiled(build, arch)
    prefix = "D" if build.real == "double" else "F"
    codes = hot_path(blocks_of(cubin, build.entry, nvdisasm), prefix, build.outwards)
    found = {"instructions": len(codes), "flops": _flops(codes, prefix), "mix": mix(codes)}
    return {**used, **found, "share": round(build.useful * share(codes, build.real, arch), 3)}


def main() -> None:
    nvdisasm = disassembler()
    if nvdisasm is None:
        raise SystemExit("nvdisasm is needed: pip install nvidia-cuda-nvdisasm")
    made = {
        build.name: {arch: row(build, arch, nvdisasm) for arch in ARCHITECTURES}
        for build in builds()
    }
    result = {"first": load("kernels").get("first", made), "now": made}
    # A line per kernel.
    parts = (
        f' "{when}": {{\n'
        + ",\n".join(f"  {json.dumps(name)}: {json.dumps(rows)}" for name, rows in found.items())
        + "\n }"
        for when, found in result.items()
    )
    write_text(RESULTS / "kernels.json", "{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
