"""Array libraries, units, keyed random numbers, samples: what everything above rests on."""
