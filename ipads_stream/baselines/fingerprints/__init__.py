"""Fingerprints without a network: matching, posterior mean, fit."""
