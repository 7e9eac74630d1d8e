"""Distributions of physical parameters: one per file, in SI units, keyed by sample index.

A distribution maps a keyed uniform number through its quantile function (``quantile(u)``, the
inverse of ``cdf(x)``), so a sample keeps its rank when its distribution changes. Distributions are
made of distributions: mixed, truncated, conditioned on another parameter, correlated with it,
widened, emphasised, adapted to the network's errors, moved along a curriculum. A system checks its
parameters together (``as_parameters``) and draws them together (``draw_parameters``).
"""

from __future__ import annotations

from ipads_stream.distributions.adaptive import Adaptive
from ipads_stream.distributions.beta import Beta
from ipads_stream.distributions.choice import Choice
from ipads_stream.distributions.conditional import Conditional
from ipads_stream.distributions.constant import Constant
from ipads_stream.distributions.correlated import Correlated
from ipads_stream.distributions.curriculum import Curriculum
from ipads_stream.distributions.discrete_uniform import DiscreteUniform
from ipads_stream.distributions.emphasized import Emphasized
from ipads_stream.distributions.empirical import Empirical
from ipads_stream.distributions.given import Given
from ipads_stream.distributions.histogram import Histogram
from ipads_stream.distributions.joint import draw_parameters, importance_weights
from ipads_stream.distributions.log_uniform import LogUniform
from ipads_stream.distributions.mixture import Mixture
from ipads_stream.distributions.normal import Normal
from ipads_stream.distributions.parameters import Parameter, as_distribution, as_parameters
from ipads_stream.distributions.proportional import Proportional
from ipads_stream.distributions.schedules import (
    CosineSchedule,
    LinearSchedule,
    PiecewiseSchedule,
    StepSchedule,
)
from ipads_stream.distributions.truncated import Truncated
from ipads_stream.distributions.uniform import Uniform
from ipads_stream.distributions.univariate import Distribution
from ipads_stream.distributions.widened import Widened

__all__ = [
    "Adaptive",
    "Beta",
    "Choice",
    "Conditional",
    "Constant",
    "Correlated",
    "CosineSchedule",
    "Curriculum",
    "DiscreteUniform",
    "Distribution",
    "Emphasized",
    "Empirical",
    "Given",
    "Histogram",
    "LinearSchedule",
    "LogUniform",
    "Mixture",
    "Normal",
    "Parameter",
    "PiecewiseSchedule",
    "Proportional",
    "StepSchedule",
    "Truncated",
    "Uniform",
    "Widened",
    "as_distribution",
    "as_parameters",
    "draw_parameters",
    "importance_weights",
]
