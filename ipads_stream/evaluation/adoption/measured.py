"""What a system takes out of measured data: values of its fields, each with its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.files import load_npy
from ipads_stream.data.images import Images, read_images
from ipads_stream.distributions import Constant

GYROMAGNETIC = 42.577  # MHz/T, of hydrogen
LONGEST = 60.0  # s, of a repetition time: a longer one was meant in ms


@dataclass(frozen=True)
class Setting:
    """A value of a field of a system, and where it is from."""

    value: Any
    source: str


@dataclass(frozen=True)
class Adopted:
    """What fits a system.

    Attributes:
        settings: of the protocol, by the names of fields.
        notes: what else the files say, and what was assumed.
        priors: gives distributions mined from the data, and notes on them; slow.
    """

    settings: Mapping[str, Setting]
    notes: Sequence[str]
    priors: Callable[[], tuple[Mapping[str, Setting], Sequence[str]]]


@dataclass(frozen=True)
class Measured:
    """Measured data: images, or None where the path leads to a recording of signals."""

    path: Path
    images: Images | None


def read_measured(path: Path) -> Measured:
    """The data of a path; ConfigError of images that cannot be read, under ``data``.

    A complex array of two axes in NumPy is a plane of signals, every other one holds images.
    """
    is_images = path.name.endswith((".nii", ".nii.gz"))
    if path.suffix == ".npy" and path.is_file():
        try:
            array = load_npy(path)
        except Exception as error:  # foreign bytes make this parser fail in many ways
            raise ConfigError("data", str(path), f"a whole .npy file ({error})") from error
        is_images = not (np.iscomplexobj(array) and array.ndim == 2)
    return Measured(path, read_images(path) if is_images else None)


def images_of(system: Any, measured: Measured) -> Images:
    """The images that a system needs; ConfigError of a recording."""
    if measured.images is None:
        raise refused(system, measured, "images: a NIfTI file with its JSON sidecar, or .npy")
    return measured.images


def refused(system: Any, measured: Measured, needed: str) -> ConfigError:
    """The error of data that do not fit a system, which says what would."""
    return ConfigError("system", system.name, f"{measured.path.name} is not {needed}")


def constant(value: float | int, unit: str = "") -> Constant:
    """Of a value of a file, to six digits."""
    return Constant(value=float(f"{value:.6g}"), unit=unit)


def number(sidecar: Mapping[str, Any], key: str) -> float | None:
    """A number of a sidecar that is the same in all files, None where there is none.

    Raises:
        ConfigError: not a number, or another one in each file.
    """
    given = sidecar.get(key)
    if given is None:
        return None
    values = given if isinstance(given, list) else [given]
    if not all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values):
        raise ConfigError("data", f"{key} {given}", "a number")
    if not values or not np.isfinite(values).all():
        raise ConfigError("data", f"{key} {given}", "finite numbers")
    if max(values) - min(values) > 1e-3 * abs(max(values)):
        raise ConfigError("data", f"{key} {given}", "the same in every file of one measurement")
    return float(values[0])


def facts(sidecar: Mapping[str, Any]) -> list[str]:
    """Sentences on the field and the repetition time; ConfigError where they contradict."""
    told = []
    field, frequency = number(sidecar, "MagneticFieldStrength"), number(sidecar, "ImagingFrequency")
    if field is not None and frequency is not None:
        expected = GYROMAGNETIC * field
        if abs(frequency - expected) > 0.03 * expected:
            given = f"ImagingFrequency {frequency:g} MHz at MagneticFieldStrength {field:g} T"
            raise ConfigError("data", given, f"about {expected:.4g} MHz, of hydrogen")
    if field is not None:
        told.append(f"B0 is {field:g} T (MagneticFieldStrength); no field of the system needs it")
    if (repetition := repetition_time(sidecar)) is not None:
        told.append(f"TR is {1e3 * repetition:g} ms (RepetitionTime); what it saturates is in snr")
    return told


def repetition_time(sidecar: Mapping[str, Any]) -> float | None:
    """From excitation to excitation, s; ConfigError of one that can only be in ms."""
    found = number(sidecar, "RepetitionTimeExcitation")
    found = number(sidecar, "RepetitionTime") if found is None else found
    if found is not None and not 0 < found < LONGEST:
        given = f"RepetitionTime of {found:g} s"
        raise ConfigError("data", given, f"above 0 s, at most {LONGEST:g} s; is the unit ms?")
    return found
