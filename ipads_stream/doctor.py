"""What is installed, what works, and what to do about what does not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path

from ipads_stream import __version__

REQUIRED = (
    "numpy", "scipy", "numba", "torch", "lightning", "hydra-core", "omegaconf", "einops",
    "array-api-compat", "jaxtyping", "wandb", "matplotlib", "nmrglue", "h5py", "pooch",
)  # fmt: skip
ARCHITECTURES = (80, 90)


def examine() -> tuple[str, bool]:
    """The report as text, and whether training on the CPU would work."""
    lines = [f"ipads_stream {__version__}, Python {platform.python_version()}"]
    missing = [name for name in REQUIRED if _version(name) is None]
    lines += [f"  {name:18s} {_version(name) or 'MISSING'}" for name in REQUIRED]
    if missing:
        lines.append(f"  fix: {sys.executable} -m pip install {' '.join(missing)}")
    lines += ["", "devices", *_devices(), "", "kernels", *_kernels(), "", "folders", *_folders()]
    return "\n".join(lines), not missing


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[str]:
    lines = [f"  cpu   {os.cpu_count()} logical processors, {platform.machine()}"]
    if importlib.util.find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            lines.append(f"  cuda  torch {torch.version.cuda}: {', '.join(names)}")
        else:
            built = torch.version.cuda
            reason = "torch is a CPU build" if built is None else "torch finds no device or driver"
            lines.append(f"  cuda  not used: {reason}")
    if importlib.util.find_spec("cupy") is None:
        lines.append("  cupy  not installed; on a machine with a GPU:")
        lines.append(
            f"        {sys.executable} -m pip install 'ipads-stream[cuda13]'   (or cuda12)"
        )
    else:
        from ipads_stream.core.backend import resolve_device

        lines.append(f"  cupy  {_version('cupy-cuda13x') or _version('cupy-cuda12x')}")
        lines.append(f"  device=auto means {resolve_device('auto')}")
    return lines


def _kernels() -> list[str]:
    """Compile status of every CUDA text, and of the Numba twins."""
    import numpy as np

    from ipads_stream.core.random import Keys, words
    from ipads_stream.physics.exponentials import damped_exponentials

    lines = []
    one = np.ones((1, 1))
    words(Keys(0, "doctor", np.zeros(1, dtype=np.uint64))["words"], 4)
    damped_exponentials(one, one, one, one, points=4, dtype="complex64")
    lines.append("  numba   random numbers and exponentials compile and run")
    texts = sorted(Path(__file__).parent.rglob("*.cu"))
    if importlib.util.find_spec("cuda.core") is None if importlib.util.find_spec("cuda") else True:
        lines.append(f"  cuda    {len(texts)} texts, not compiled: needs cuda-core and NVRTC;")
        lines.append(
            f"          {sys.executable} -m pip install cuda-core 'nvidia-cuda-nvrtc>=13,<14'"
        )
        return lines
    for text in texts:
        for arch in ARCHITECTURES:
            lines.append(f"  cuda    {text.name:20s} sm_{arch}  {_compiled(text, arch)}")
    return lines


def _compiled(path: Path, arch: int) -> str:
    from cuda.core import Program, ProgramOptions

    try:
        options = ProgramOptions(arch=f"sm_{arch}", std="c++17", define_macro=("REAL", "float"))
        Program(path.read_text(), "c++", options).compile("cubin")
    except Exception as error:
        return "FAILED: " + " ".join(str(error).split())[:200]
    return "compiles"


def _folders() -> list[str]:
    from ipads_stream.config import conf_dir

    cache = os.environ.get("NUMBA_CACHE_DIR", "beside the package")
    data = os.environ.get("IPADS_DATA")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return [
        f"  configuration  {conf_dir()}",
        f"  IPADS_DATA     {data or 'not set: named data sets are downloaded once'}",
        f"  kernel cache   {cache}",
        f"  here           {free:.0f} GB free",
    ]
