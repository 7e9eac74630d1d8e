"""Loss terms: named errors per sample.

A loss is called with ``(predictions, sample)`` and returns ``{name: (B,) tensor}``. The trainer
weights the samples (the failure policy may mask some), averages, sums the terms and logs each;
terms are kept per sample so that no loss has to care for weights, and the worst sample has a name.
"""
