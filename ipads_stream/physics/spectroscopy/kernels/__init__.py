"""Numba lanes and CUDA text of sums of exponentials."""
