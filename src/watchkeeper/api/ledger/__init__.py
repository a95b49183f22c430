"""The ledger's routes: what it says can be checked without trusting it."""
