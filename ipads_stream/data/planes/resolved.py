"""J-resolved planes as they are drawn."""

import numpy as np
from jaxtyping import Float

from ipads_stream.data.planes.plane import Plane


def tilted(
    plane: Plane, intensities: Float[np.ndarray, "rows points"]
) -> Float[np.ndarray, "rows points"]:
    """A J-resolved plane sheared by 45 degrees, S'(f2, f1) = S(f2 + f1, f1); others as they are.

    In the plane as recorded a line at f1 = J/2 is at f2 = shift + J/2 along the direct axis.

    Args:
        plane: whose axes are those of the intensities.
        intensities: any unit, (direct points, indirect points); beyond the edge they are 0.

    Source: Aue, Karhan, Ernst, J Chem Phys 64:4226 (1976).
    """
    if plane.indirect.nucleus != "J":
        return intensities
    f2, f1 = (axis.hertz(n) for axis, n in zip((plane.direct, plane.indirect),
                                               intensities.shape, strict=True))  # fmt: skip
    columns = zip(f1, intensities.T, strict=True)
    return np.stack([np.interp(f2 + f, f2, row, 0.0, 0.0) for f, row in columns], axis=1)
