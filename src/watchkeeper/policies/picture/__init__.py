"""A policy drawn: where it gives authority, and what narrows it there."""
