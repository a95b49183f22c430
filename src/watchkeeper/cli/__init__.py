"""The command line. Imports nothing heavy until a command needs it: `--help` answers in a fraction of a second."""
