"""Benchmarks of the ledger: `python -m bench.ledger`. One function for each figure, one module for each kind of work."""
