"""Items come in order, one is read while the one before is worked on, and a failure of the reader is the caller's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from watchkeeper.ledger.checks.ahead import one_ahead


class Source:
    def __init__(self, count: int, fails_at: int | None = None) -> None:
        self.read = 0
        self._count, self._fails_at = count, fails_at

    async def items(self) -> AsyncIterator[int]:
        for number in range(self._count):
            if number == self._fails_at:
                raise ValueError("the reader failed")
            self.read = number + 1
            yield number


async def test_the_same_items_in_the_same_order() -> None:
    assert [item async for item in one_ahead(Source(5).items())] == [0, 1, 2, 3, 4]
    assert [item async for item in one_ahead(Source(0).items())] == []


async def test_a_failure_of_the_reader_comes_after_what_was_read() -> None:
    items = one_ahead(Source(5, fails_at=2).items())
    assert [await anext(items), await anext(items)] == [0, 1]
    with pytest.raises(ValueError, match="the reader failed"):
        await anext(items)


async def test_at_most_one_is_read_ahead() -> None:
    source = Source(9)
    async for item in one_ahead(source.items()):
        assert source.read <= item + 2
        if item == 3:
            break
    assert source.read <= 5
