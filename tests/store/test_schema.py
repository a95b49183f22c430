"""The migrations make what METADATA says, and a database at another revision is refused with the next command."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from watchkeeper.core.errors import StoreError
from watchkeeper.store import schema
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import METADATA


@pytest.fixture
async def empty(store_url: str) -> AsyncIterator[Store]:
    schema.register_tables()
    opened = Store(store_url)
    yield opened
    await opened.close()


def differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, METADATA))


def guards(connection: Connection) -> set[tuple[str, ...]]:
    """Every trigger as the database keeps it, with the functions behind it."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
    else:
        query = (
            "SELECT pg_get_triggerdef(t.oid), t.tgenabled::text, pg_get_functiondef(t.tgfoid) "
            "FROM pg_trigger t WHERE NOT t.tgisinternal"
        )
    return {tuple(row) for row in connection.execute(text(query))}


def picture(connection: Connection) -> dict[str, object]:
    """All the database itself says of our tables; Alembic compares neither defaults reliably nor partial indexes."""
    look = inspect(connection)
    return {
        name: {
            "columns": sorted(
                (c["name"], str(c["type"]), c["nullable"], str(c["default"])) for c in look.get_columns(name)
            ),
            "key": look.get_pk_constraint(name)["constrained_columns"],
            "references": sorted((f["constrained_columns"], f["referred_table"]) for f in look.get_foreign_keys(name)),
            "indexes": sorted(
                (
                    str(i["name"]),
                    i["column_names"],
                    i["unique"],
                    sorted((k, str(v)) for k, v in i.get("dialect_options", {}).items()),
                )
                for i in look.get_indexes(name)
            ),
            "unique": sorted(u["column_names"] for u in look.get_unique_constraints(name)),
        }
        for name in look.get_table_names()
        if name != "alembic_version"
    }


async def test_migrated_schema_is_the_metadata(empty: Store) -> None:
    await schema.upgrade(empty)
    async with empty.read() as tx:
        assert await tx.run_sync(differences) == []
        migrated, guarded = await tx.run_sync(picture), await tx.run_sync(guards)
    async with empty.write() as tx:
        await tx.run_sync(METADATA.drop_all)
        await tx.run_sync(METADATA.create_all)
    async with empty.read() as tx:
        assert migrated == await tx.run_sync(picture)
        assert guarded == await tx.run_sync(guards) != set()
    assert set(migrated) == set(METADATA.tables)


async def test_upgrade_is_repeatable_and_check_accepts_the_result(empty: Store) -> None:
    assert await schema.current(empty) is None
    await schema.upgrade(empty)
    await schema.upgrade(empty)
    await schema.check(empty)
    assert await schema.current(empty) == schema.head()


async def test_a_database_without_schema_names_the_command(empty: Store) -> None:
    with pytest.raises(StoreError, match="no schema") as caught:
        await schema.check(empty)
    assert caught.value.next_step == "watchkeeper config migrate"


async def test_a_newer_database_is_refused(empty: Store) -> None:
    await schema.upgrade(empty)
    async with empty.write() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match="does not know"):
        await schema.check(empty)


async def test_an_older_database_is_refused(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await schema.upgrade(empty)
    monkeypatch.setattr(schema, "head", lambda: "9999")
    with pytest.raises(StoreError, match="needs 9999"):
        await schema.check(empty)
