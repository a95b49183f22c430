"""SQLite's connection: one visit to its thread for a statement, and what SQLAlchemy makes of it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import create_async_engine

from watchkeeper.store import onetrip


async def opened(directory: Path) -> onetrip.OneTripConnection:
    connection = onetrip.connect(str(directory / "one.db"))
    await connection
    return connection


async def test_a_statement_is_one_visit_to_the_thread(tmp_path: Path) -> None:
    connection = await opened(tmp_path)
    visits, execute = [], connection._execute

    async def counted(function: object, *given: object) -> object:
        visits.append(function)
        return await execute(function, *given)  # type: ignore[no-untyped-call]

    connection._execute = counted  # type: ignore[method-assign]
    cursor = connection.cursor()
    await cursor.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
    await cursor.execute("INSERT INTO t (b) VALUES (?) RETURNING a", ("x",))
    assert (await cursor.fetchall(), await cursor.fetchall()) == ([(1,)], [])
    assert [column[0] for column in cursor.description] == ["a"]
    assert cursor.lastrowid == 1
    await cursor.executemany("INSERT INTO t (b) VALUES (?)", [("y",), ("z",)])
    assert (cursor.rowcount, cursor.description) == (2, None)
    await cursor.execute("UPDATE t SET b = 'w' WHERE a > 1")
    assert cursor.rowcount == 2
    await cursor.close()
    assert len(visits) == 4
    await connection.close()


async def test_a_statement_that_fails_leaves_no_answer_of_the_one_before(tmp_path: Path) -> None:
    connection = await opened(tmp_path)
    cursor = connection.cursor()
    await cursor.execute("SELECT 1")
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await cursor.execute("SELECT * FROM nowhere")
    assert (await cursor.fetchall(), cursor.description, cursor.rowcount) == ([], None, -1)
    await connection.close()


async def test_sqlalchemy_sees_rows_counts_and_errors_as_ever(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'one.db'}"
    engine = create_async_engine(url, connect_args={"async_creator_fn": onetrip.connect})
    async with engine.begin() as tx:
        await tx.execute(text("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT UNIQUE)"))
        await tx.execute(text("INSERT INTO t (b) VALUES (:b)"), [{"b": "x"}, {"b": "y"}])
        assert (await tx.execute(text("UPDATE t SET a = a + 10"))).rowcount == 2
    async with engine.connect() as tx:
        assert (await tx.execute(text("SELECT a, b FROM t ORDER BY a"))).all() == [(11, "x"), (12, "y")]
        with pytest.raises(IntegrityError, match="UNIQUE"):
            await tx.execute(text("INSERT INTO t (b) VALUES ('x')"))
        with pytest.raises(OperationalError, match="no such column"):
            await tx.execute(text("SELECT c FROM t"))
    await engine.dispose()


async def test_who_stops_waiting_leaves_the_connection_usable(tmp_path: Path) -> None:
    connection = await opened(tmp_path)
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
    waiting = asyncio.ensure_future(connection.cursor().execute(long))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    after = await connection.cursor().execute("SELECT 7")
    assert await after.fetchall() == [(7,)]
    await connection.close()
