"""Crashes and faults of the gateway: that the watch survives them is shown here."""
