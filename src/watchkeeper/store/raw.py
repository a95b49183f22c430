"""Reads rows as the driver gives them: no conversion, no row objects. For those who read a whole table.

Values have the driver's types: an instant is its text. Only for queries whose parameters are plain numbers and texts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy import Select
from sqlalchemy.engine.interfaces import Compiled
from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.errors import StoreError

Value = int | str


@asynccontextmanager
async def lenient(tx: AsyncConnection) -> AsyncIterator[None]:
    """For SQLite: while it lasts, a text that is no UTF-8 is read with marks in place of what is wrong, not refused."""
    driver: Any = (await tx.get_raw_connection()).driver_connection
    driver.text_factory = lambda raw: raw.decode(errors="replace")
    try:
        yield
    finally:
        driver.text_factory = str


class RawQuery:
    """A query with named parameters (`bindparam`), written once for each kind of database."""

    def __init__(self, query: Select[Any]) -> None:
        self._query = query
        self._compiled: dict[str, Compiled] = {}

    async def fetch(self, tx: AsyncConnection, **values: Value) -> list[tuple[Any, ...]]:
        """All rows. Raises StoreError; InvalidRequestError where a parameter has no value."""
        compiled = self._for(tx)
        values = compiled.construct_params(values)
        driver: Any = (await tx.get_raw_connection()).driver_connection
        try:
            if tx.dialect.name == "sqlite":
                places = [values[name] for name in compiled.positiontup or ()]
                return list(await driver.execute_fetchall(compiled.string, places))
            async with driver.cursor(binary=True) as cursor:
                await cursor.execute(compiled.string, values)
                found: list[tuple[Any, ...]] = await cursor.fetchall()
                return found
        except (sqlite3.Error, psycopg.Error) as error:
            raise StoreError(
                f"the database did not answer a query: {str(error).splitlines()[0][:200]}",
                cause="it is down, or locked by another process",
                next_step="watchkeeper config check",
            ) from error

    def _for(self, tx: AsyncConnection) -> Any:
        if tx.dialect.name not in self._compiled:
            self._compiled[tx.dialect.name] = self._query.compile(dialect=tx.dialect)
        return self._compiled[tx.dialect.name]
