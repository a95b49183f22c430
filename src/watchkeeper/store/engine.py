"""Opens the database and hands out transactions.

`Store.write()` is the only way to change anything. On SQLite it is BEGIN IMMEDIATE behind one in-process queue that
serves stops first; on PostgreSQL it is READ COMMITTED, and the few places that need more take `gate_shared` /
`gate_exclusive` (see docs/decisions/0004-locking.md). No await on anything but the database inside a write.
It does not retry: a caller that can repeat its work does so itself.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import IntEnum

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from watchkeeper.core.errors import ConfigError, LedgerError, StoreError, UnrecordableError
from watchkeeper.store import onetrip
from watchkeeper.store.guards import MARK

GATE = 0x57_4B_01
"""The advisory lock that claims share and stops take alone (PostgreSQL)."""


IDLE_MS = 2000
"""How long a process frozen inside a write may hold up a stop (PostgreSQL); a busy one must not reach it."""


CONNECT_S, SILENT_MS = 5, 10_000
"""How long a server that does not answer may keep us from knowing that it is gone (PostgreSQL)."""

FORBIDDEN = "42501"
"""PostgreSQL's insufficient_privilege."""

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "recursive_triggers=ON",  # else a REPLACE deletes the old row past the guards
)

UNSAYABLE = (OverflowError, UnicodeEncodeError)
"""What a driver, or a column's type, raises for a value before the database is asked."""

DRIVERS = ("sqlite+aiosqlite", "postgresql+psycopg")


class Priority(IntEnum):
    STOP = 0
    CLAIM = 1
    NORMAL = 2


class _Turnstile:
    """A lock whose waiters pass in order of priority, then of arrival."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._busy = False
        self._arrivals = 0

    async def acquire(self, priority: Priority) -> None:
        if not self._busy:
            self._busy = True
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (priority, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._busy = False


def parsed_url(text: str) -> URL:
    """The address, or a ConfigError that does not show it: it may hold a password."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise _not_ours(
            "the database URL cannot be read", "it is no URL, or a sign in its password is not %-escaped"
        ) from None
    if url.drivername not in DRIVERS:
        raise _not_ours(
            f"database {url.drivername!r} is not supported", "the database URL names another kind of server"
        )
    return url


def _not_ours(what: str, cause: str) -> ConfigError:
    return ConfigError(what, cause=cause, next_step="use sqlite+aiosqlite:///PATH or postgresql+psycopg://HOST/NAME")


class Store:
    """One per process. `url` is `sqlite+aiosqlite:///PATH` or `postgresql+psycopg://...`."""

    def __init__(self, url: str) -> None:
        self.url: URL = parsed_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._turnstile = _Turnstile()
        self._writer, self._reader = self._engines()

    def _engines(self) -> tuple[AsyncEngine, AsyncEngine]:
        if not self.is_sqlite:
            options = f"-c idle_in_transaction_session_timeout={IDLE_MS} -c lock_timeout=10000"
            keepalives = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 2}
            limits = {"connect_timeout": CONNECT_S, "tcp_user_timeout": SILENT_MS}
            engine = create_async_engine(
                self.url,
                pool_size=10,
                max_overflow=10,
                pool_pre_ping=True,
                connect_args={"options": options} | limits | keepalives,
            )
            return engine, engine
        how = {"timeout": 5, "async_creator_fn": onetrip.connect}
        writer = create_async_engine(self.url, pool_size=1, max_overflow=0, connect_args=how)
        reader = create_async_engine(self.url, pool_size=4, max_overflow=4, connect_args=how)
        _sqlite_manners(writer, "BEGIN IMMEDIATE")
        _sqlite_manners(reader, "BEGIN")
        return writer, reader

    @asynccontextmanager
    async def write(self, priority: Priority = Priority.NORMAL) -> AsyncIterator[AsyncConnection]:
        """A transaction that may change things; commits at the end, rolls back on any error."""
        if self.is_sqlite:
            await self._turnstile.acquire(priority)
        try:
            with _store_errors():
                async with self._writer.begin() as tx:
                    yield tx
        finally:
            if self.is_sqlite:
                self._turnstile.release()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent snapshot on SQLite; on PostgreSQL, one READ COMMITTED transaction."""
        with _store_errors():
            async with self._reader.begin() as tx:
                yield tx

    async def gate_shared(self, tx: AsyncConnection) -> None:
        """Taken by claims before they read epochs, in a statement of its own."""
        if not self.is_sqlite:
            await tx.execute(text("SELECT pg_advisory_xact_lock_shared(:gate)"), {"gate": GATE})

    async def gate_exclusive(self, tx: AsyncConnection) -> None:
        """Taken by stops: waits for claims that are committing, and holds back new ones."""
        if not self.is_sqlite:
            await tx.execute(text("SELECT pg_advisory_xact_lock(:gate)"), {"gate": GATE})

    async def settle(self) -> bool:
        """Whether what was deleted and overwritten has left the write-ahead log too (SQLite): everything in it is moved
        into the database file, and it is cut to nothing. False while a long reader holds it up, and on PostgreSQL,
        which has no such thing to offer."""
        if not self.is_sqlite:
            return False
        await self._turnstile.acquire(Priority.NORMAL)
        try:
            with _store_errors():
                async with self._writer.connect() as connection:
                    driver = (await connection.get_raw_connection()).driver_connection
                    assert driver is not None
                    # past SQLAlchemy, which would begin a transaction first
                    async with driver.execute("PRAGMA wal_checkpoint(TRUNCATE)") as cursor:
                        busy, *_ = await cursor.fetchone()
        finally:
            self._turnstile.release()
        return not busy

    async def close(self) -> None:
        await self._writer.dispose()
        await self._reader.dispose()


class _store_errors:  # reads as a statement: `with _store_errors():`
    """Turns the driver's errors into `StoreError`; constraint violations pass through for callers that expect them.
    A value that does not fit is that value's fault, not the database's (`UnrecordableError`); what a guard refused,
    nobody should have asked for (`LedgerError`)."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError):
            if MARK in (refusal := _detail(error)):
                raise LedgerError(
                    f"the database refuses to change the record: {refusal.partition(MARK)[2]}",
                    cause="a bug of Watchkeeper, or somebody alters the ledger through its connection",
                    next_step="watchkeeper ledger verify, and report this as a bug",
                ) from error
            return
        if error is not None and (isinstance(error, DataError) or isinstance(getattr(error, "orig", error), UNSAYABLE)):
            raise UnrecordableError(
                f"the database cannot hold a value: {_detail(error)}",
                cause="a text is too long, a number too great, or a character is not storable",
                next_step="shorten it where it comes from; if that is Watchkeeper, report this as a bug",
            ) from error
        if isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") == FORBIDDEN:
            raise StoreError(
                f"the database role may not do this: {_detail(error)}",
                cause="the role is held back on purpose, or a right was not granted to it",
                next_step="watchkeeper config check --connect",
            ) from error
        if isinstance(error, SQLAlchemyError):
            raise StoreError(
                f"the database did not do as asked: {_detail(error)}",
                cause="it is down, full, read-only, or locked by another process",
                next_step="watchkeeper config check",
            ) from error


def _detail(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0][:200]


def _sqlite_manners(engine: AsyncEngine, begin: str) -> None:
    """pysqlite's own transaction handling reads outside the transaction (lost updates); we say BEGIN ourselves."""

    @event.listens_for(engine.sync_engine, "connect")
    def _connect(connection: object, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # DBAPI connections are untyped
        cursor = connection.cursor()  # type: ignore[attr-defined]
        for pragma in PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
