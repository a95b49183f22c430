"""Where LangGraph keeps its checkpoints: a file of its own beside SQLite, a schema of its own on PostgreSQL.

They hold the planner's place in the graph and nothing that an effect depends on. The embedded profile makes its tables
when it opens them; on PostgreSQL `prepare_postgres` does, by the owner of the database and while no other session holds
a snapshot (docs/decisions/0005).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

# langgraph loads langsmith, which would send state out if the environment it inherits says so.
os.environ["LANGSMITH_TRACING"] = "false"
os.environ["LANGCHAIN_TRACING_V2"] = "false"
os.environ["LANGGRAPH_STRICT_MSGPACK"] = "true"

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from watchkeeper.core.errors import StoreError
from watchkeeper.store.roles import PLANNER_SCHEMA

T = TypeVar("T")


Call = Callable[..., Awaitable[Any]]
CALLED = ("aget_tuple", "aput", "aput_writes", "adelete_thread")
"""What the graph and the forgetter ask of a saver."""


def _telling(saver: BaseCheckpointSaver[str], failure: type[Exception]) -> BaseCheckpointSaver[str]:
    """The saver, whose database's errors are ours: a planner that cannot be written down is as good as a ledger that
    cannot, and nothing may act (invariant 11)."""

    def told(call: Call) -> Call:
        async def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return await call(*args, **kwargs)
            except failure as error:
                why = next(iter(str(error).splitlines()), type(error).__name__)
                raise StoreError(
                    f"the planner's checkpoints cannot be read or written: {why[:200]}",
                    cause="their database is down, full, read-only, or locked by another process",
                    next_step="watchkeeper config check",
                ) from error

        return run

    for name in CALLED:
        setattr(saver, name, told(getattr(saver, name)))
    return saver


class ShieldedSqliteSaver(AsyncSqliteSaver):
    """A cancelled or failed write never leaves a transaction open on the checkpoint file.

    The plain saver, cancelled in the middle of `aput_writes`, keeps the write lock of its connection.
    """

    async def _guard(self, write: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            try:
                return await write()
            except BaseException:
                async with self.lock:
                    if self.conn.in_transaction:
                        await self.conn.rollback()
                raise

        task = asyncio.ensure_future(run())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    async def aput(self, *args: Any, **kwargs: Any) -> Any:
        return await self._guard(lambda: AsyncSqliteSaver.aput(self, *args, **kwargs))

    async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
        await self._guard(lambda: AsyncSqliteSaver.aput_writes(self, *args, **kwargs))

    async def adelete_thread(self, thread_id: str) -> None:
        await self._guard(lambda: AsyncSqliteSaver.adelete_thread(self, thread_id))


@asynccontextmanager
async def sqlite_checkpoints(path: Path) -> AsyncIterator[BaseCheckpointSaver[str]]:
    async with aiosqlite.connect(path, timeout=5) as connection:
        await connection.execute("PRAGMA journal_mode=WAL")
        await connection.execute("PRAGMA synchronous=FULL")
        saver = ShieldedSqliteSaver(connection)
        await saver.setup()
        yield _telling(saver, sqlite3.Error)


async def prepare_postgres(dsn: str) -> None:
    """Makes LangGraph's tables, or brings them to its present form; asks for no right where they have it.
    `dsn` is a libpq URL."""
    import psycopg  # noqa: PLC0415  # only the production profile needs the driver here
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
    from psycopg.rows import dict_row  # noqa: PLC0415

    options = f"-c search_path={PLANNER_SCHEMA}"
    connect = psycopg.AsyncConnection.connect(dsn, autocommit=True, row_factory=dict_row, options=options)
    async with await connect as connection:
        if await _is_prepared(connection, len(AsyncPostgresSaver.MIGRATIONS)):
            return
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {PLANNER_SCHEMA}".encode())
        await AsyncPostgresSaver(connection).setup()


async def _is_prepared(connection: Any, migrations: int) -> bool:
    found = await connection.execute("SELECT to_regclass('checkpoint_migrations') AS made")
    if (await found.fetchone())["made"] is None:
        return False
    done = await connection.execute("SELECT count(*) AS done FROM checkpoint_migrations")
    return bool((await done.fetchone())["done"] >= migrations)


@asynccontextmanager
async def postgres_checkpoints(dsn: str) -> AsyncIterator[BaseCheckpointSaver[str]]:
    """Autocommit is required: without it checkpoints are silently not committed. A connection that the server has ended
    meanwhile is not handed out."""
    import psycopg  # noqa: PLC0415  # only the production profile needs the driver here
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver  # noqa: PLC0415
    from psycopg.rows import dict_row  # noqa: PLC0415
    from psycopg_pool import AsyncConnectionPool  # noqa: PLC0415

    options = {"autocommit": True, "row_factory": dict_row, "options": f"-c search_path={PLANNER_SCHEMA}"}
    async with AsyncConnectionPool[Any](
        dsn, min_size=1, max_size=4, kwargs=options, open=False, check=AsyncConnectionPool.check_connection
    ) as pool:
        await pool.open(wait=True)
        yield _telling(AsyncPostgresSaver(pool), psycopg.Error)
