"""Distributions of physical parameters: one per file, in SI units, keyed by sample index.

A distribution maps a keyed uniform number through its quantile function (``quantile(u)``, the
inverse of ``cdf(x)``), so a sample keeps its rank when its distribution changes. Distributions are
made of distributions: mixed, truncated, conditioned on another parameter, correlated with it,
widened, emphasised, adapted to the network's errors, moved along a curriculum. A system checks its
parameters together (``as_parameters``) and draws them together (``draw_parameters``). To look at
one: ``sample(n)``, ``plot()``.
"""

from ipads_stream.distributions.adaptive import Adaptive as Adaptive
from ipads_stream.distributions.beta import Beta as Beta
from ipads_stream.distributions.choice import Choice as Choice
from ipads_stream.distributions.conditional import Conditional as Conditional
from ipads_stream.distributions.constant import Constant as Constant
from ipads_stream.distributions.correlated import Correlated as Correlated
from ipads_stream.distributions.curriculum import Curriculum as Curriculum
from ipads_stream.distributions.discrete_uniform import DiscreteUniform as DiscreteUniform
from ipads_stream.distributions.emphasized import Emphasized as Emphasized
from ipads_stream.distributions.empirical import Empirical as Empirical
from ipads_stream.distributions.given import Given as Given
from ipads_stream.distributions.histogram import Histogram as Histogram
from ipads_stream.distributions.joint import draw_parameters as draw_parameters
from ipads_stream.distributions.joint import importance_weights as importance_weights
from ipads_stream.distributions.log_uniform import LogUniform as LogUniform
from ipads_stream.distributions.mixture import Mixture as Mixture
from ipads_stream.distributions.normal import Normal as Normal
from ipads_stream.distributions.parameters import Parameter as Parameter
from ipads_stream.distributions.parameters import as_distribution as as_distribution
from ipads_stream.distributions.parameters import as_parameters as as_parameters
from ipads_stream.distributions.parameters import parameter as parameter
from ipads_stream.distributions.proportional import Proportional as Proportional
from ipads_stream.distributions.schedules import CosineSchedule as CosineSchedule
from ipads_stream.distributions.schedules import LinearSchedule as LinearSchedule
from ipads_stream.distributions.schedules import Pace as Pace
from ipads_stream.distributions.schedules import PiecewiseSchedule as PiecewiseSchedule
from ipads_stream.distributions.schedules import StepSchedule as StepSchedule
from ipads_stream.distributions.truncated import Truncated as Truncated
from ipads_stream.distributions.uniform import Uniform as Uniform
from ipads_stream.distributions.univariate import Distribution as Distribution
from ipads_stream.distributions.widened import Widened as Widened
