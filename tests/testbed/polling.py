"""Waiting for what another process does in its own time, where it offers nothing to wait on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def eventually(ask: Callable[[], Found | None], *, timeout_s: float, every_s: float = 0.1) -> Found:
    """Ask until the answer is true, and give it back; fail with the last answer when the time is up."""
    deadline = time.monotonic() + timeout_s
    while not (found := ask()):
        assert time.monotonic() < deadline, f"still {found!r} after {timeout_s:g} s"
        time.sleep(every_s)
    return found
