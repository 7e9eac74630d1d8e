"""C++ as a library in this process, kept from one process to the next by all that makes it."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_FOLDER = Path(tempfile.gettempdir()) / f"cuda-text-on-the-cpu-{os.getuid()}"


@functools.cache
def library_of(text: str, flags: tuple[str, ...]) -> ctypes.CDLL:
    """A text compiled by g++ with flags, loaded."""
    compiler = shutil.which("g++")
    if compiler is None:
        raise RuntimeError("g++ is not installed: the CUDA text cannot be run on the CPU")
    _FOLDER.mkdir(exist_ok=True, mode=0o700)
    key = hashlib.sha256(f"{flags}{text}".encode()).hexdigest()[:24]
    library = _FOLDER / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
            source, made = Path(folder) / "text.cpp", Path(folder) / "text.so"
            source.write_text(text)
            build = [compiler, "-std=c++17", "-fPIC", "-shared", *flags, source, "-o", made]
            done = subprocess.run(build, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            made.replace(library)
    return ctypes.CDLL(str(library))
