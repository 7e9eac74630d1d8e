"""Numba lanes and CUDA text of what is drawn for an acquisition."""
