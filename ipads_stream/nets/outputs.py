"""The outputs of a network and of its loss: the quantities of the system that it is trained on."""

from collections.abc import Mapping
from typing import Any

from ipads_stream.core.errors import ConfigError
from ipads_stream.core.quantity import Quantity, quantities
from ipads_stream.core.units import factor
from ipads_stream.systems import Quantified, System

# What a quantity written in YAML has where a key is left out.
PLAIN = {"unit": "", "scale": "linear", "bids": ""}


def filled_outputs(node: Any, system: System, key: str = "net") -> Any:
    """A configuration's node with what its ``outputs`` leave out taken from the system.

    ``outputs: null`` becomes all quantities of the system; ``outputs: {T2: {scale: linear}}`` those
    that are named, each with its range, unit, scale and BIDS suffix where they are not given. A
    network sees the range on a scale of -1 to 1, so that a given range must hold the system's.
    The node, whose dotted name for errors is ``key``, may be any part of a configuration.

    Raises:
        ConfigError: no outputs and no quantities, a name the system lacks, a range that does not
            hold the system's.
    """
    if isinstance(node, list):
        return [filled_outputs(item, system, f"{key}[{i}]") for i, item in enumerate(node)]
    if not isinstance(node, Mapping):
        return node
    if "_target_" not in node or "outputs" not in node:
        return {name: filled_outputs(x, system, f"{key}.{name}") for name, x in node.items()}
    outputs, key = node["outputs"], f"{key}.outputs"
    if isinstance(system, Quantified):
        known = system.quantities
        if outputs is None:
            outputs = dict.fromkeys(known)
        if isinstance(outputs, Mapping):
            outputs = {n: _filled(x, known, n, f"{key}.{n}") for n, x in outputs.items()}
    elif outputs is None:
        allowed = "low, high, unit and scale by name: the system has no quantities to take"
        raise ConfigError(key, None, allowed)
    return {**node, "outputs": outputs}


def _filled(given: Any, known: Mapping[str, Quantity], name: str, key: str) -> Any:
    if name not in known:
        raise ConfigError(key, given, f"a quantity of the system: {', '.join(known)}")
    if given is not None and not isinstance(given, Mapping):
        return given  # the network refuses it by name
    given, quantity = dict(given or {}), known[name]
    try:
        unit = given.get("unit", quantity.unit)
        # Digits that rounding alone has made would be written into every configuration.
        ends = {end: float(f"{getattr(quantity, end) / factor(unit):.12g}")
                for end in ("low", "high")}  # fmt: skip
        words = {"unit": unit, "scale": quantity.scale, "bids": quantity.bids}
        output = ends | {word: x for word, x in words.items() if x != PLAIN[word]} | given
        (made,) = quantities({"": output}).values()
    except ConfigError as error:
        raise ConfigError(f"{key}.{error.key.lstrip('.')}", error.value, error.allowed) from None
    margin = 1e-9 * (quantity.high - quantity.low)
    if made.low > quantity.low + margin or made.high < quantity.high - margin:
        end = "low" if made.low > quantity.low + margin else "high"
        bound = "at most" if end == "low" else "at least"
        allowed = f"{bound} {ends[end]:g} {unit}".rstrip() + f", the range of the system's {name}"
        raise ConfigError(f"{key}.{end}", output[end], allowed)
    return output
