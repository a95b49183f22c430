"""Benchmarks of the ledger: `python -m bench.ledger`. One function for a figure, one module for a kind of work."""
