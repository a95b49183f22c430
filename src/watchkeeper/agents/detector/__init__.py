"""Detectors: pure functions of the signal state and the time. They find and attribute; they neither explain nor act."""
