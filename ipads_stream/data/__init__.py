"""Measured data: readers, writers and named data sets."""
