"""A fresh `Store` with every room's tables, once on SQLite and once on PostgreSQL.

Tables come from METADATA, not from the migrations; tests/store/test_schema.py holds the two together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_mock_engine, make_url

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
