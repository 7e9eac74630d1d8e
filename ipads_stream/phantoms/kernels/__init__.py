"""Kernels of the templates: CUDA text beside its Numba twin."""
