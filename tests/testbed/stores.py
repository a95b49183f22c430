"""A fresh `Store` with every room's tables, once on SQLite and once on PostgreSQL.

Tables come from METADATA, not from the migrations; tests/store/test_schema.py holds the two together.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import create_mock_engine, make_url
from sqlalchemy.exc import OperationalError

from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import METADATA
from watchkeeper.store.schema import register_tables


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'watchkeeper.db'}"
    url: str = request.getfixturevalue("pg_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = Store(store_url)
    await create_tables(opened)
    yield opened
    await opened.close()


async def create_tables(store: Store) -> None:
    """Every room's tables, in an empty database."""
    register_tables()
    async with store.write() as tx:
        if store.is_sqlite:
            await tx.run_sync(METADATA.create_all)
        else:
            await tx.exec_driver_sql(_postgresql_script())


class _Nowhere:
    """An engine whose database is not where it was."""

    def begin(self) -> NoReturn:
        raise OperationalError("connect", None, sqlite3.OperationalError("unable to open database file"))


@contextmanager
def unreachable(store: Store) -> Iterator[None]:
    """Inside the block this store can neither read nor write."""
    opened: Any = store
    kept = opened._writer, opened._reader
    opened._writer = opened._reader = _Nowhere()
    try:
        yield
    finally:
        opened._writer, opened._reader = kept


@cache
def _postgresql_script() -> str:
    """All DDL in one round trip: table by table it takes five times as long, in every test."""
    statements: list[str] = []
    dialect = make_url("postgresql+psycopg://").get_dialect()()
    engine = create_mock_engine(
        "postgresql+psycopg://", lambda ddl, *_, **__: statements.append(str(ddl.compile(dialect=dialect)))
    )
    METADATA.create_all(engine, checkfirst=False)
    return ";\n".join(statements)
