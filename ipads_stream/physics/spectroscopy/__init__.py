"""Signals of spectroscopy: sums of exponentials and their spectra."""
