"""Detectors, diagnosers, remediators, and the state machine that ties them. What they may do is policy's to say."""
