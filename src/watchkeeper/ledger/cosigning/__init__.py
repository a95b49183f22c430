"""Witnesses: what they sign, who they are, how many are enough."""
