"""Moving spins: paths, rigid motion, deformation, diffusion."""
