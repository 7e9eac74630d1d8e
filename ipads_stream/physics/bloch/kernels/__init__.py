"""Numba lanes and CUDA texts of isochromats."""
