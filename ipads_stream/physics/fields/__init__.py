"""Fields that objects make: the dipole convolution of susceptibility."""
