"""Reads one item ahead of whoever works on the one before, so that both go on at once.

Worth it where another process reads (PostgreSQL): threads of this one would only wait for each other's lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

Item = TypeVar("Item")


async def one_ahead(items: AsyncIterator[Item]) -> AsyncIterator[Item]:
    """The same items in the same order. Whoever stops in between waits for the read that is under way."""
    waiting = asyncio.ensure_future(anext(items, None))
    try:
        while (item := await waiting) is not None:
            waiting = asyncio.ensure_future(anext(items, None))
            yield item
    finally:
        await asyncio.gather(waiting, return_exceptions=True)
