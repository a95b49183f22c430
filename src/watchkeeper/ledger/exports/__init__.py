"""The log as files for others."""
