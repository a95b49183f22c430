"""The deployed schema: which tables there are, and the migrations that make them.

Rooms are named, not imported: the store looks down only, so their tables are loaded at run time. An upgrade is one
transaction and waits for any other process that upgrades. There is no downgrade: restore a backup instead.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from watchkeeper.core.errors import StoreError
from watchkeeper.store.engine import Store

MIGRATIONS = Path(__file__).parent / "migrations"

TABLE_MODULES = (
    "watchkeeper.store.tables",
    "watchkeeper.ledger.tables",
    "watchkeeper.policies.tables",
    "watchkeeper.policies.trust.tables",
    "watchkeeper.signals.tables",
    "watchkeeper.agents.tables",
    "watchkeeper.api.tables",
)


def register_tables() -> None:
    """Loads every room's tables into METADATA."""
    for name in TABLE_MODULES:
        importlib.import_module(name)


def alembic_config(connection: Connection) -> Config:
    """Alembic on a connection of ours; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def head() -> str | None:
    """The revision this version of Watchkeeper works with."""
    return ScriptDirectory(MIGRATIONS).get_current_head()


async def upgrade(store: Store) -> None:
    """Brings the schema to `head`; does nothing where it is there."""
    async with store.write() as tx:
        if not store.is_sqlite:
            await tx.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        await store.gate_exclusive(tx)
        await tx.run_sync(lambda connection: command.upgrade(alembic_config(connection), "head"))


async def current(store: Store) -> str | None:
    """The revision of the database; None: it has no schema yet."""
    async with store.read() as tx:
        return await tx.run_sync(lambda connection: MigrationContext.configure(connection).get_current_revision())


async def check(store: Store) -> None:
    """Raises `StoreError` unless the database has exactly the schema of this version."""
    found, wanted = await current(store), head()
    if found == wanted:
        return
    if found is None:
        raise StoreError(
            "the database has no schema yet",
            cause="it is new, or the URL names another database",
            next_step="watchkeeper config migrate",
        )
    if found in {script.revision for script in ScriptDirectory(MIGRATIONS).walk_revisions()}:
        raise StoreError(
            f"the database is at schema {found}, this version needs {wanted}",
            cause="Watchkeeper was upgraded and its database was not",
            next_step="watchkeeper config migrate",
        )
    raise StoreError(
        f"the database is at schema {found}, which this version does not know",
        cause="a newer version of Watchkeeper has upgraded it",
        next_step="start the newer version, or restore the backup made before the upgrade",
    )
