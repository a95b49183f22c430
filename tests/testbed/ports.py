"""Free loopback ports.

Does NOT reserve them: between the answer and the bind another process may take the port, so a starter tries again
with a new port when its child cannot bind.
"""

from __future__ import annotations

import secrets
import socket

LOOPBACK = "127.0.0.1"
PORTS = range(10_000, 32_768)
"""Below those that the kernel gives to clients, so that no connection of a test beside takes one meanwhile."""


def free_port() -> int:
    """A TCP port on loopback that nobody listened on a moment ago. Not by `random`: tests that run side by side are
    given the same seed."""
    for _ in range(1000):
        port = secrets.choice(PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port on loopback")
