"""How kernels are compiled for the CPU."""

from __future__ import annotations

from numba import njit

# Division by zero raises in Python; a branch for it would keep loops out of the vector registers.
kernel = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})
# Nothing is contracted: two ways to compute a number give the same bits.
exact = njit(nogil=True, cache=True, error_model="numpy")
# Inlined, so that compiled and cached kernels are one code: a part that is called exists twice in
# the process that compiles it, and the two may round differently.
part = njit(forceinline=True, error_model="numpy", fastmath={"contract"})
