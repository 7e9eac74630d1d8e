"""What a configuration says about a Pulseq file, besides its path."""

from collections.abc import Mapping
from typing import Any, get_args

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.fields import Number
from ipads_stream.physics.waveforms import Use

KEYS = ("uses", "B0", "soft_delays")


def asked_of_file(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``read_pulseq`` out of a configuration; what it leaves out stays so.

    Args:
        config: `pulseq`, the file; `uses`, number of a pulse to what it is played for; `B0` in T;
            `soft_delays`, hint to s.

    Raises:
        ConfigError: a value of another kind, or any of them without a file.
    """
    given = {key: config[key] for key in KEYS if config.get(key) is not None}
    for key, value in given.items():
        if config.get("pulseq") is None:
            raise ConfigError(key, value, "null, unless pulseq names a file")
        if key == "B0":
            given[key] = float(Number(above=0.0)(key, value))
        elif not isinstance(value, Mapping):
            example = "{2: refocusing}" if key == "uses" else "{TE: 0.02}"
            raise ConfigError(key, value, f"a mapping, such as {example}")
    for number, use in given.get("uses", {}).items():
        if not isinstance(number, int) or use not in get_args(Use):
            allowed = f"numbers of pulses to one of {', '.join(get_args(Use))}"
            raise ConfigError("uses", given["uses"], allowed)
    if "soft_delays" in given:
        given["soft_delays"] = {
            hint: float(Number(low=0.0)(f"soft_delays.{hint}", seconds))
            for hint, seconds in given["soft_delays"].items()
        }
    return given
