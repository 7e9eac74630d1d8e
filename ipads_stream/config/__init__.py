"""From YAML and overrides (composing.py) to systems, networks and trainers (building.py)."""

from ipads_stream.config.building import (
    build_run,
    build_sequence,
    build_system,
    instantiate,
    load_model,
    load_system,
)
from ipads_stream.config.composing import (
    PATHS,
    compose,
    composed,
    conf_dir,
    group_names,
    recommended,
    resolved,
    suggestion,
)

__all__ = [
    "PATHS",
    "build_run",
    "build_sequence",
    "build_system",
    "compose",
    "composed",
    "conf_dir",
    "group_names",
    "instantiate",
    "load_model",
    "load_system",
    "recommended",
    "resolved",
    "suggestion",
]
