"""Bodies that entries refer to: redacted, kept, destroyed."""
