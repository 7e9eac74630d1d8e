"""Numba lanes and CUDA texts of phase graphs."""
