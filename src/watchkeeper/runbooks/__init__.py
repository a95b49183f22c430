"""The catalogue of what may be done: runbooks as data, and their resolution into proposals. Decides nothing."""
