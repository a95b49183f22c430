"""Recorded decisions made again, and what has to be kept for it."""
