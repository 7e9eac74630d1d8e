"""What is installed, what works, and what to do about what does not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ipads_stream import __version__

# Where the package itself is not installed, so that its metadata do not list them.
REQUIRED = (
    "numpy", "scipy", "numba", "torch", "lightning", "hydra-core", "omegaconf", "einops",
    "array-api-compat", "filelock", "jaxtyping", "wandb", "matplotlib", "nmrglue", "h5py",
    "nibabel", "pooch", "pyyaml", "threadpoolctl", "tqdm",
)  # fmt: skip
ARCHITECTURES = (80, 90)


def examine() -> tuple[str, bool]:
    """The report as text, and whether training on the CPU would work."""
    required = required_packages()
    missing = [name for name in required if _version(name) is None]
    lines = [f"ipads_stream {__version__}, Python {platform.python_version()}"]
    lines += [f"  {name:18s} {_version(name) or 'MISSING'}" for name in required]
    if missing:
        lines.append(f"  fix: {sys.executable} -m pip install {' '.join(missing)}")
    is_sound = not missing
    for title, parts in SECTIONS.items():
        lines += ["", title]
        for part in parts:
            try:
                lines.extend(part())
            except Exception as error:  # whatever is broken, the rest is told
                told = " ".join(str(error).split())[:200]
                lines.append(f"  FAILED  {type(error).__name__}: {told}")
                is_sound = is_sound and part in FOR_CUDA
    return "\n".join(lines), is_sound


def required_packages() -> list[str]:
    """Names of the distributions that the package needs, without those of its extras."""
    try:
        required = importlib.metadata.requires("ipads-stream") or []
    except importlib.metadata.PackageNotFoundError:
        return list(REQUIRED)
    names = (re.match(r"[\w.-]+", line) for line in required if "extra ==" not in line)
    return [name.group() for name in names if name]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _has(module: str) -> bool:
    """Whether a module can be found; not so where its parent package is missing."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _processors() -> Iterator[str]:
    yield f"  cpu   {os.cpu_count()} logical processors, {platform.machine()}"


def _torch() -> Iterator[str]:
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        yield f"  cuda  torch {torch.version.cuda}: {', '.join(names)}"
    else:
        is_cpu_build = torch.version.cuda is None
        reason = "torch is a CPU build" if is_cpu_build else "torch finds no device or driver"
        yield f"  cuda  not used: {reason}"


def _cupy() -> Iterator[str]:
    if not _has("cupy"):
        yield "  cupy  not installed; on a machine with a GPU:"
        yield f"        {sys.executable} -m pip install 'ipads-stream[cuda13]'   (or cuda12)"
        return
    from ipads_stream.core.handover import working_device

    yield f"  cupy  {_version('cupy-cuda13x') or _version('cupy-cuda12x')}"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield f"  device=auto means {working_device()}"
    yield from (f"        {warning.message}" for warning in caught)
    yield from _cuda_libraries()


def _cuda_libraries() -> Iterator[str]:
    """Which of the libraries that CuPy loads are missing, found out by using each."""
    from ipads_stream.core.backend import device_namespace

    try:
        xp: Any = device_namespace("cuda")
    except ValueError as error:
        yield f"        {error}"
        return
    trials = {
        "NVRTC and headers": lambda: xp.arange(3.0) + 1,
        "cuFFT": lambda: xp.fft.fft(xp.ones(4)),
        "cuBLAS": lambda: xp.ones((2, 2)) @ xp.ones((2, 2)),
        "cuSOLVER": lambda: xp.linalg.eigh(xp.eye(2)),
    }
    for library, trial in trials.items():
        try:
            trial()
        except Exception as error:  # of the loader, the compiler or the driver
            yield f"        MISSING {library}: {' '.join(str(error).split())[:120]}"
            yield "        fix: pip install 'ipads-stream[cuda13]'   (or cuda12)"


def _numba() -> Iterator[str]:
    """Whether the Numba kernels compile."""
    import numpy as np

    from ipads_stream.core.random import Keys, words
    from ipads_stream.physics.spectroscopy.exponentials import damped_exponentials

    one = np.ones((1, 1))
    words(Keys(0, "doctor", np.zeros(1, dtype=np.uint64))["words"], 4)
    damped_exponentials(one, one, one, one, points=4, dtype="complex64")
    yield "  numba   random numbers and exponentials compile and run"


def _cuda_texts() -> Iterator[str]:
    """Whether every CUDA text compiles, which needs no GPU."""
    texts = sorted(Path(__file__).parent.rglob("*.cu"))
    if not _has("cuda.core"):
        yield f"  cuda    {len(texts)} texts, not compiled: needs cuda-core and NVRTC;"
        yield f"          {sys.executable} -m pip install cuda-core 'nvidia-cuda-nvrtc>=13,<14'"
        return
    for text in texts:
        for arch in ARCHITECTURES:
            yield f"  cuda    {text.name:20s} sm_{arch}  {_compiled(text, arch)}"


def _compiled(path: Path, arch: int) -> str:
    from cuda.core import Program, ProgramOptions

    from ipads_stream.core.backend import cuda_text

    try:
        options = ProgramOptions(arch=f"sm_{arch}", std="c++17", define_macro=("REAL", "float"))
        Program(cuda_text(path), "c++", options).compile("cubin")
    except Exception as error:
        return "FAILED: " + " ".join(str(error).split())[:200]
    return "compiles"


def _folders() -> Iterator[str]:
    data = os.environ.get("IPADS_DATA")
    yield f"  IPADS_DATA     {data or 'not set: named data sets are downloaded once'}"
    yield f"  kernel cache   {os.environ.get('NUMBA_CACHE_DIR', 'beside the package')}"
    yield f"  here           {shutil.disk_usage(Path.cwd()).free / 1e9:.0f} GB free"
    from ipads_stream.config import conf_dir

    yield f"  configuration  {conf_dir()}"


SECTIONS = {
    "devices": (_processors, _torch, _cupy),
    "kernels": (_numba, _cuda_texts),
    "folders": (_folders,),
}
FOR_CUDA = (_cupy, _cuda_texts)  # the CPU does without
