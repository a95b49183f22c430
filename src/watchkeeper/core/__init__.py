"""The vocabulary every room shares. Pure: no I/O, no clock of its own, no third-party client."""
