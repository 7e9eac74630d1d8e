"""Extended phase graphs: regular trains (FISP, SPGR, CPMG) and any other."""

from __future__ import annotations

from ipads_stream.physics.epg.arguments import CRUSHED
from ipads_stream.physics.epg.formula import cpmg_formula, fisp_formula
from ipads_stream.physics.epg.general import (
    Train,
    gradient_echoes,
    quadratic_phase,
    spin_echoes,
    train,
    train_formula,
)
from ipads_stream.physics.epg.regular import (
    BOUND,
    cpmg,
    fisp,
    num_orders,
    spgr,
    truncation_error,
)

__all__ = [
    "BOUND",
    "CRUSHED",
    "Train",
    "cpmg",
    "cpmg_formula",
    "fisp",
    "fisp_formula",
    "gradient_echoes",
    "num_orders",
    "quadratic_phase",
    "spgr",
    "spin_echoes",
    "train",
    "train_formula",
    "truncation_error",
]
