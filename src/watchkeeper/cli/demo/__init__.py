"""`watchkeeper demo`: the daemon and the lab as processes of their own, spoken to over their public APIs only."""
