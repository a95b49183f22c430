"""Benchmarks: each module prints its figures, measured in its own run. Nothing here is shipped."""
