"""Diagnosers: from the findings of an incident to its causes, in order. Pure, and they work with no model."""
