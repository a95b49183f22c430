"""Real counterparts and databases for the tests, started by the tests themselves."""
