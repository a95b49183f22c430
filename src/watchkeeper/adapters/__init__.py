"""What goes out: one typed action contract, the recorder that every call passes, and the adapters under it."""
