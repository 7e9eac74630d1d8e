"""The name that ``physics.exchange`` had before: kept for code that imports it."""

from ipads_stream.physics.exchange import *  # noqa: F403
