"""What an adversary who owns the database and the files, but not the signing key, may do to a log."""
