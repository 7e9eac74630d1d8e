"""Numba lanes and CUDA text of exchanging pools."""
