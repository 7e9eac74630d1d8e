"""Networks, classical methods and bounds on the same samples, for systems of quantities."""
