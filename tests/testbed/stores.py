"""A fresh `Store` with every room's tables, once on SQLite and once on PostgreSQL.

Tables come from METADATA, not from the migrations; tests/store/test_schema.py holds the two together.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import pytest
from sqlalchemy import create_mock_engine, make_url, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.testbed.postgres import Database, PostgresServer
from watchkeeper.cli import rolesql
from watchkeeper.daemon.settings import Settings
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import METADATA
from watchkeeper.store.schema import register_tables


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peer)])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; of one with every room's tables for a test that asks for `store` too."""
    with_tables = "store" in request.fixturenames
    if request.param == "sqlite":
        path = tmp_path / "watchkeeper.db"
        if with_tables:
            shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite+aiosqlite:///{path}"
    url: str = request.getfixturevalue("pg_url_with_tables" if with_tables else "pg_url")
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database file with every room's tables, to be copied: making them takes many times as long."""
    path = tmp_path_factory.mktemp("template") / "tables.db"
    asyncio.run(_with_tables(f"sqlite+aiosqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def pg_template(postgres_server: PostgresServer) -> Database:
    """The same on the PostgreSQL server. Nobody may be connected to it."""
    database = postgres_server.fresh_database()
    asyncio.run(_with_tables(database.url))
    return database


@pytest.fixture
def pg_url_with_tables(postgres_server: PostgresServer, pg_template: Database) -> Iterator[str]:
    database = postgres_server.fresh_database(pg_template.name)
    yield database.url
    postgres_server.drop_database(database)


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    opened = Store(store_url)
    yield opened
    await opened.close()


async def _with_tables(url: str) -> None:
    async with store_of(url) as opened:
        await create_tables(opened)


async def create_tables(store: Store) -> None:
    """Every room's tables, in an empty database."""
    register_tables()
    async with store.write() as tx:
        if store.is_sqlite:
            await tx.run_sync(METADATA.create_all)
        else:
            await tx.exec_driver_sql(_postgresql_script())


async def unguarded(tx: AsyncConnection) -> None:
    """Drops every guard of this database, as its owner can who wants to change what is on record."""
    if tx.dialect.name == "sqlite":
        query = "SELECT name, '' FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'guard_%'"
    else:
        query = "SELECT tgname, ' ON ' || tgrelid::regclass FROM pg_trigger WHERE tgname LIKE 'guard_%'"
    for name, where in (await tx.execute(text(query))).all():
        await tx.execute(text(f"DROP TRIGGER {name}{where}"))


@asynccontextmanager
async def store_of(url: str) -> AsyncIterator[Store]:
    opened = Store(url)
    try:
        yield opened
    finally:
        await opened.close()


@dataclass(frozen=True)
class ThreeRoles:
    """The URLs of one PostgreSQL database, by role."""

    superuser: str
    owner: str
    daemon: str
    pruner: str

    @property
    def settings(self) -> dict[str, str]:
        return {"url": self.daemon, "owner_url": self.owner, "pruner_url": self.pruner}


@pytest.fixture
def three_roles(postgres_server: PostgresServer) -> Iterator[ThreeRoles]:
    """An empty database with the three roles, as `config roles` says to make them."""
    database = postgres_server.fresh_database()
    owner, daemon, pruner = roles = tuple(f"{database.name}_{part}" for part in ("owner", "daemon", "pruner"))
    settings = Settings.model_validate({"database": {"url": database.url}})
    postgres_server.run(database, rolesql.script(settings, rolesql.Names(owner, daemon, pruner, "public")).prepare)
    yield ThreeRoles(database.url, *(database.url_of(role) for role in roles))
    postgres_server.drop_database(database)
    postgres_server.drop_roles(roles)


@asynccontextmanager
async def tampering(store: Store) -> AsyncIterator[AsyncConnection]:
    """A transaction of the adversary who owns the database: the guards are gone, and do not come back."""
    async with store.write() as tx:
        await unguarded(tx)
        yield tx


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
