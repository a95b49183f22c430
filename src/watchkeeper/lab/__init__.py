"""A small seeded AI system to watch and to break: providers, a gateway, callers.

It speaks to the daemon over public APIs only. It is for loopback, and not a load test.
"""
