"""A GPU that is not there: a strict stand-in for CuPy and for torch's side of CUDA.

Inside ``emulated_gpu()`` the package finds CuPy and two devices. What runs there runs on the CPU,
under the rules of the device: arrays are not mixed, no array becomes one of the host by itself,
fresh memory is not zero, kernels take what they declare, and streams order what they share. It
shows what only a device would: wrong calls, hidden synchronisations and copies, missing events. It
says nothing of speed or of the device's rounding.
"""

from __future__ import annotations

from emulated.installed import emulated_gpu

__all__ = ["emulated_gpu"]
