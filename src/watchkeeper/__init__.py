"""Watchkeeper: the on-call watch for AI systems."""

__version__ = "0.1.0"
