"""`watchkeeper ledger`: the record, one module per kind of command."""
