"""Physical constants, each in one place."""

import math

# CODATA 2018, proton (unshielded), gamma / (2 pi), Hz/T.
GAMMA_BAR_1H = 42.577478518e6
# The same in rad/(s T).
GAMMA_1H = 2 * math.pi * GAMMA_BAR_1H
