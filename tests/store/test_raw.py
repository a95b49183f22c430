"""Raw reading: the same rows as the ordinary way, and our own error where the database has none to give."""

from __future__ import annotations

import pytest
from sqlalchemy import bindparam, insert, literal_column, select
from sqlalchemy.exc import InvalidRequestError

from watchkeeper.core.errors import StoreError
from watchkeeper.ledger.tables import ledger_tile
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import BigId
from watchkeeper.store.raw import RawQuery


async def test_rows_are_those_of_the_ordinary_way_whatever_is_asked(store: Store) -> None:
    rows = [{"level": 0, "idx": number, "root": bytes([number]) * 32} for number in range(5)]
    async with store.write() as tx:
        await tx.execute(insert(ledger_tile), rows)
    idx = ledger_tile.c.idx
    ranged = select(ledger_tile).where(ledger_tile.c.level == 0, idx >= bindparam("first", type_=BigId)).order_by(idx)
    query = RawQuery(ranged)
    async with store.read() as tx:
        for first in (0, 3, 5):
            ordinary = [tuple(row) for row in await tx.execute(ranged, {"first": first})]
            assert await query.fetch(tx, first=first) == ordinary
            assert len(ordinary) == 5 - first
        with pytest.raises(InvalidRequestError, match="first"):
            await query.fetch(tx)


async def test_what_the_database_refuses_is_our_error(store: Store) -> None:
    with pytest.raises(StoreError, match="did not answer a query"):
        async with store.read() as tx:
            await RawQuery(select(literal_column("nothing_of_the_kind"))).fetch(tx)
