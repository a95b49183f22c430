"""Signed notes, checkpoints, and the keys that sign them, one after another."""
