"""Crashes, faults of the gateway, and long simulated days: that the watch survives them is shown here."""
