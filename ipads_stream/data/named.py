"""Measured planes by name: from the folder IPADS_DATA, the download cache, or their public source.

Files are looked for as IPADS_DATA/nmr/<file>, then in the cache, then downloaded once; each is
accepted only with its SHA-256. The data are not part of this package; their licences are named.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path


class DataUnavailable(RuntimeError):  # noqa: N818
    """A named data set is neither present nor downloadable; the message says how to provide it."""


@dataclass(frozen=True)
class Source:
    """Where a file comes from.

    Attributes:
        file: path below IPADS_DATA.
        repository, commit, path: public GitHub source.
        sha256: of the file.
        licence: of the source.
        signal_ppm: ppm, direct shifts that hold signal, for `planes.rows_between`: elsewhere, water
            (ubiquitin) and noise (15N13C) supply many of the peaks.
        peak_threshold: fraction of the maximum, for `metrics.peak_correlation`; well above noise.
    """

    file: str
    repository: str
    commit: str
    path: str
    sha256: str
    licence: str
    signal_ppm: tuple[float, float]
    peak_threshold: float

    @property
    def url(self) -> str:
        """Address of the raw file."""
        return f"https://raw.githubusercontent.com/{self.repository}/{self.commit}/{self.path}"


SOURCES = {
    "ubiquitin": Source(
        "nmr/ubiquitin_15N_hsqc.mat",
        "IlyaKuprov/Spinach",
        "213f44da522118bedd34ad1b1120adb2d0c0061d",
        "examples/nmr_proteins/expt_data/hsqc_ubiquitin_expt.mat",
        "82d101dafa69a017b069ab15f4ec2c92bcb8c5c254249bdeae38191f37dbae3b",
        "MIT",
        (5.6, 10.5),
        0.03,
    ),
    "15N13C": Source(
        "nmr/15N13C_2d_time_complex.fid",
        "jjhelmus/nmrglue",
        "fbac8a1dba039155875bdc6bac0678550f5146d3",
        "tests/pipe_proc_tests/time_complex.fid",
        "f067efa8e0d4c4ccae6cdb673d000512928ea6723006653eabd41bb9f40982b8",
        "BSD-3-Clause",
        (-5.0, 25.0),
        0.1,
    ),
}
NAMES = tuple(SOURCES)


def find(name: str, progress: bool = True) -> Path:
    """The checked file of a named data set, for `planes.read_plane`; downloaded once if missing.

    Args:
        name: one of NAMES.
        progress: show a progress bar while downloading.

    Raises:
        ValueError: unknown name.
        DataUnavailable: the file in IPADS_DATA has another checksum, or the download failed.
    """
    if name not in SOURCES:
        raise ValueError(f"data set {name!r}; allowed: {', '.join(NAMES)}")
    source = SOURCES[name]
    folder = os.environ.get("IPADS_DATA")
    if folder and (local := Path(folder) / source.file).is_file():
        checksum = hashlib.sha256(local.read_bytes()).hexdigest()
        if checksum != source.sha256:
            fault = f"checksum mismatch (sha256 {checksum}, expected {source.sha256})"
            raise DataUnavailable(f"{local}: {fault}; replace it with {source.url}, or remove it")
        return local
    import pooch
    import requests

    try:
        place = {"fname": Path(source.file).name, "path": pooch.os_cache("ipads_stream")}
        known = f"sha256:{source.sha256}"
        return Path(pooch.retrieve(source.url, known_hash=known, progressbar=progress, **place))
    except (requests.RequestException, OSError, ValueError) as error:
        raise DataUnavailable(
            f"{source.file} is not at hand and could not be downloaded from {source.url} "
            f"({type(error).__name__}). Download it elsewhere, put it at {source.file} in a folder "
            "and set the environment variable IPADS_DATA to that folder"
        ) from error
