"""Networks, one published architecture a file: ``forward(inputs) -> predictions``."""
