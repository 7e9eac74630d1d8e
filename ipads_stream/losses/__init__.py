"""Loss terms: named errors per sample.

A loss is called with ``(predictions, sample)`` and returns ``{name: (B,) tensor}``. The trainer
weights the samples (the failure policy may mask some), averages, sums the terms and logs each;
terms are kept per sample so that no loss handles weights, and the worst sample can be named.
"""
