"""Two-dimensional spectra as planes of complex signals."""
