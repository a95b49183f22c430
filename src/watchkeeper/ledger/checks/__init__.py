"""Verify and fsck: whether the log is what was signed, and what its entries must be."""
