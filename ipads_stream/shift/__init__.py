"""The shift laboratory: every training distribution against every test distribution."""

from __future__ import annotations

from ipads_stream.shift.run import Ran, run_study

__all__ = ["Ran", "run_study"]
