"""A connection to SQLite that goes to its thread once for a statement.

aiosqlite goes there four times: for the cursor, the statement, its rows, and to close. Each is a handover between two
threads that share one interpreter, and costs more than most of our statements do. Every row is read at once, which is
what SQLAlchemy asks for anyway: there is no streaming here, and whoever reads must bound what is asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, Self

import aiosqlite

CHUNK = 64
"""aiosqlite's own default for iterating, which nobody does here."""


class _Answer(NamedTuple):
    rows: list[tuple[Any, ...]]
    description: Any
    rowcount: int
    lastrowid: int | None


_NOTHING = _Answer([], None, -1, None)


class OneTripCursor:
    """What SQLAlchemy needs of an asynchronous cursor; only `execute` and `executemany` leave this thread."""

    def __init__(self, connection: OneTripConnection) -> None:
        self._connection, self._answer = connection, _NOTHING
        self.arraysize = 1

    @property
    def description(self) -> Any:
        return self._answer.description

    @property
    def rowcount(self) -> int:
        return self._answer.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._answer.lastrowid

    async def execute(self, statement: str, parameters: Sequence[Any] = ()) -> Self:
        self._answer = _NOTHING
        self._answer = await self._connection.answer(sqlite3.Cursor.execute, statement, parameters)
        return self

    async def executemany(self, statement: str, parameters: Sequence[Sequence[Any]]) -> Self:
        self._answer = _NOTHING
        self._answer = await self._connection.answer(sqlite3.Cursor.executemany, statement, parameters)
        return self

    async def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._answer = self._answer.rows, self._answer._replace(rows=[])
        return rows

    async def close(self) -> None:
        """The cursor that it stood for is closed already."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        return None


class OneTripConnection(aiosqlite.Connection):
    def cursor(self) -> OneTripCursor:  # type: ignore[override]  # SQLAlchemy enters it, and does not await it
        return OneTripCursor(self)

    async def answer(self, how: Any, statement: str, parameters: Sequence[Any]) -> _Answer:
        answer: _Answer = await self._execute(_answered, self._conn, how, statement, parameters)  # type: ignore[no-untyped-call]
        return answer


def _answered(connection: sqlite3.Connection, how: Any, statement: str, parameters: Sequence[Any]) -> _Answer:
    cursor = connection.cursor()
    try:
        how(cursor, statement, parameters)
        rows = cursor.fetchall()
        return _Answer(rows, cursor.description, cursor.rowcount, cursor.lastrowid)
    finally:
        cursor.close()


def connect(database: str, **options: Any) -> OneTripConnection:
    """As `aiosqlite.connect`, to be awaited. Its thread does not keep the process from ending."""
    connection = OneTripConnection(partial(sqlite3.connect, database, **options), CHUNK)
    connection._thread.daemon = True
    return connection
