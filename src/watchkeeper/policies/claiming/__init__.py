"""The right to send one effect, and what is asked again in the transaction that takes it."""
