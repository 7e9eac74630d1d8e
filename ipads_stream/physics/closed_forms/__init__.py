"""Signals that sequences have in closed form."""
