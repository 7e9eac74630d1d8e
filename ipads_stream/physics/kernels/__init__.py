"""Fused kernels: CUDA text beside its Numba twin."""
