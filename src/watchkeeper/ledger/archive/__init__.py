"""The archive: signed entries copied to storage of their own, never overwritten, for anybody to check."""
