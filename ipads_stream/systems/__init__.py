"""Published systems, one flat file each: parameters, draw, render, forward."""

from ipads_stream.systems.base import Bounded as Bounded
from ipads_stream.systems.base import Compared as Compared
from ipads_stream.systems.base import FieldMapped as FieldMapped
from ipads_stream.systems.base import Forward as Forward
from ipads_stream.systems.base import Likely as Likely
from ipads_stream.systems.base import Measurable as Measurable
from ipads_stream.systems.base import ParametricSystem as ParametricSystem
from ipads_stream.systems.base import Quantified as Quantified
from ipads_stream.systems.base import Spatial as Spatial
from ipads_stream.systems.base import Spectral as Spectral
from ipads_stream.systems.base import System as System
from ipads_stream.systems.base import Tasked as Tasked
from ipads_stream.systems.base import Undersampled as Undersampled
