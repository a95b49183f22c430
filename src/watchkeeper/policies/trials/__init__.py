"""A policy's own tests: decisions that its documents are expected to come to."""
