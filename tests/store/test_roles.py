"""The three roles on a real server: what the daemon's may not do is refused by privilege, before any trigger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.testbed.ledgers import ORIGIN, Log, draft
from tests.testbed.stores import ThreeRoles, store_of

from watchkeeper.agents.held import HeldIncidents
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import ConfigError, LedgerError, StoreError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.daemon.database import Guarding, prepare, standing
from watchkeeper.daemon.settings import Settings
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.archive.directory import DirectoryStorage
from watchkeeper.ledger.evidence.erase import Eraser
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.retention.periods import RetentionSettings
from watchkeeper.ledger.retention.prune_entries import EntryPruneReport
from watchkeeper.ledger.retention.upkeep import Hand, Upkeep
from watchkeeper.policies.claiming.claims import Claims
from watchkeeper.policies.remedies import Remedies
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.store import schema
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import METADATA
from watchkeeper.store.roles import PLANNER_SCHEMA, RIGHTS, Part

pytestmark = pytest.mark.peer

YEAR = RetentionSettings(entries="1y")
PERSON = Principal(id="olga", kind=PrincipalKind.PERSON, roles=(Role.OPERATOR,), authenticated_by="token")

RECORD = [name for name in RIGHTS if name.startswith("ledger_")] + ["evidence"]
APPENDED = [name for name in RECORD if RIGHTS[name].daemon in (("SELECT", "INSERT"), ("SELECT",))]


@pytest.fixture
async def apart(three_roles: ThreeRoles, tmp_path: Path) -> ThreeRoles:
    """Migrated and granted, as a start does it."""
    await prepared(three_roles)
    return three_roles


async def prepared(of: ThreeRoles, **changed: str | None) -> Guarding:
    settings = Settings.model_validate({"database": {**of.settings, **changed}})
    async with store_of(settings.database_url()) as store, store_of(of.pruner) as pruner:
        return await prepare(settings, store, pruner)


async def execute(url: str, *statements: str) -> None:
    async with store_of(url) as store, store.write() as tx:
        for each in statements:
            await tx.execute(text(each))


async def forbidden(url: str, statement: str) -> None:
    with pytest.raises(StoreError, match=r"the database role may not do this: (permission denied|must be owner)"):
        await execute(url, statement)


def test_every_table_has_its_row_of_rights() -> None:
    schema.register_tables()
    assert set(RIGHTS) == {*METADATA.tables, "alembic_version"}


@pytest.mark.parametrize("table", RECORD)
async def test_the_daemon_s_role_is_refused_by_privilege(apart: ThreeRoles, table: str) -> None:
    statements = [
        f"TRUNCATE {table}",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"ALTER TABLE {table} ADD COLUMN x int",
        f"DROP TABLE {table}",
        f"CREATE TRIGGER x BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION guard_refuse()",
        f"CREATE RULE x AS ON INSERT TO {table} DO INSTEAD NOTHING",
    ]
    if table in APPENDED:
        column = next(iter(METADATA.tables[table].columns)).name
        statements += [f'UPDATE {table} SET "{column}" = "{column}"', f"DELETE FROM {table}"]
    if table != "ledger_pending":
        statements.append(f"DROP TRIGGER guard_{table}_update ON {table}")
    for statement in statements:
        await forbidden(apart.daemon, statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SET session_replication_role = replica",
        "CREATE OR REPLACE FUNCTION guard_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TABLE ours (x int)",
        "CREATE SCHEMA ours",
        "SELECT setval('ledger_staged_id_seq', 1)",
        "UPDATE alembic_version SET version_num = ''",
        "INSERT INTO ledger_pruned VALUES (1, 1, '')",
    ],
)
async def test_the_daemon_s_role_makes_nothing_and_turns_nothing_off(apart: ThreeRoles, statement: str) -> None:
    await forbidden(apart.daemon, statement)


async def test_the_pruner_s_role_takes_away_and_can_do_nothing_else(apart: ThreeRoles) -> None:
    async with store_of(apart.daemon) as store:
        log = Log(store)
        await log.grow(3)
        mark = f"INSERT INTO ledger_pruned VALUES (2, 2, '{log.clock.now():%Y-%m-%dT%H:%M:%S.%fZ}')"
        with pytest.raises(LedgerError, match="ledger_staged is append-only: DELETE refused"):
            await execute(apart.pruner, mark, "DELETE FROM ledger_staged WHERE id = 3")
        await execute(apart.pruner, mark, "DELETE FROM ledger_staged WHERE id <= 2", "DELETE FROM evidence")
        async with store_of(apart.pruner) as pruner, pruner.write() as tx:
            await log.ledger.append(tx, draft())
        assert await log.sequencer.run_once() == 1
    for statement in (
        "DELETE FROM ledger_entry",
        "UPDATE evidence SET size = 0",
        "UPDATE ledger_head SET size = 0",
        "INSERT INTO ledger_entry VALUES (9, 9, '')",
        "INSERT INTO ledger_checkpoint VALUES (9, '', '')",
        "SELECT body FROM policy_document",
        "SELECT hash FROM api_token",
        "TRUNCATE evidence",
        "ALTER TABLE ledger_staged DISABLE TRIGGER ALL",
        f"SELECT * FROM {PLANNER_SCHEMA}.checkpoints",
    ):
        await forbidden(apart.pruner, statement)


class Apart:
    """A log under the daemon's role, and its upkeep as the daemon puts it together."""

    def __init__(self, store: Store, pruner: Store, place: Path) -> None:
        self.clock = ManualClock()
        self.log = Log(store, self.clock)
        self.evidence = Evidence(store, clock=self.clock)
        self.pruner = Hand(pruner, Ledger(pruner, self.clock, source=ORIGIN, writer="main-pruner"))
        self.eraser = Eraser(pruner, self.pruner.ledger, self.evidence)
        self.upkeep = self.upkeep_of(self.pruner, place)

    def upkeep_of(self, pruner: Hand, place: Path) -> Upkeep:
        log = self.log
        versions = PolicyVersions(log.store, log.ledger, self.clock)
        claims = Claims(log.store, log.ledger, self.clock, versions.if_active)
        held = HeldIncidents(claims, Remedies(log.store, log.ledger))
        daemon, storage, keys = Hand(log.store, log.ledger), DirectoryStorage(place), [log.key.verifier]
        return Upkeep.over(daemon, pruner, self.clock, YEAR, storage, keys, held, holder="one")

    async def kept(self, body: bytes) -> EvidenceRef:
        async with self.log.store.write() as tx:
            return await self.evidence.put(tx, EvidenceKind.REQUEST, body)

    async def sources(self, kind: EntryType) -> set[str]:
        return {entry.envelope.source for entry in await self.log.reader.find(types=(kind,))}


@pytest.fixture
async def upkept(apart: ThreeRoles, tmp_path: Path) -> AsyncIterator[Apart]:
    async with store_of(apart.daemon) as store, store_of(apart.pruner) as pruner:
        yield Apart(store, pruner, tmp_path / "archive")


async def test_what_is_erased_and_pruned_goes_by_the_pruner_s_role(upkept: Apart) -> None:
    first, second = await upkept.kept(b"one"), await upkept.kept(b"two")
    await upkept.log.grow(300)
    erased = await upkept.eraser.erase([first.commitment], PERSON, "asked for")
    assert [use.ref for use in erased.found] == [first]
    await upkept.log.sequencer.run_once()
    await upkept.upkeep.archive().run_once()
    await upkept.log.sequencer.run_once()
    upkept.clock.advance(timedelta(days=400).total_seconds())
    await upkept.upkeep.evidence.run_once()
    assert await upkept.evidence.get(second.commitment) is None
    report = [each async for each in upkept.upkeep.entries.run()][-1]
    assert isinstance(report, EntryPruneReport)
    assert report.count == 256
    await upkept.log.sequencer.run_once()
    for kind in (EntryType.EVIDENCE_ERASED, EntryType.EVIDENCE_PRUNED, EntryType.ENTRIES_PRUNED):
        assert await upkept.sources(kind) == {f"{ORIGIN}/main-pruner"}
    assert await upkept.sources(EntryType.ARCHIVED) == {f"{ORIGIN}/main"}
    assert (await upkept.log.verify()).problems == (await upkept.log.fsck()).problems == ()


async def test_the_daemon_s_role_erases_and_prunes_nothing(upkept: Apart, tmp_path: Path) -> None:
    ref = await upkept.kept(b"one")
    await upkept.log.grow(300)
    await upkept.upkeep.archive().run_once()
    await upkept.log.sequencer.run_once()
    upkept.clock.advance(timedelta(days=400).total_seconds())
    daemon = Hand(upkept.log.store, upkept.log.ledger)
    upkeep = upkept.upkeep_of(daemon, tmp_path / "archive")
    refused = pytest.raises(StoreError, match="the database role may not do this")
    with refused:
        await Eraser(daemon.store, daemon.ledger, upkept.evidence).erase([ref.commitment], PERSON, "asked for")
    with refused:
        await upkeep.evidence.run_once()
    with refused:
        [each async for each in upkeep.entries.run()]
    assert await upkept.evidence.get(ref.commitment) == b"one"
    assert await upkept.log.sequencer.run_once() == 0
    assert (await upkept.log.fsck()).pruned == 0


async def test_the_log_grows_and_holds_under_the_daemon_s_role(apart: ThreeRoles) -> None:
    async with store_of(apart.daemon) as store:
        log = Log(store)
        await log.grow(2, 300)
        assert (await log.verify()).ok


async def test_what_was_granted_or_revoked_by_hand_is_seen_and_put_right_at_the_next_start(apart: ThreeRoles) -> None:
    daemon = apart.daemon.split("//")[1].split("@")[0]
    await execute(
        apart.owner,
        f"GRANT UPDATE (body), DELETE ON ledger_staged TO {daemon}",
        f"REVOKE INSERT ON lease FROM {daemon}",
        f"REVOKE USAGE ON SEQUENCE ledger_staged_id_seq FROM {daemon}",
        f"REVOKE UPDATE ON {PLANNER_SCHEMA}.checkpoints FROM {daemon}",
    )
    async with store_of(apart.daemon) as store:
        found = await standing(store, Part.DAEMON)
        assert found.too_wide == ("DELETE on ledger_staged", "UPDATE on ledger_staged")
        assert found.missing == ("INSERT on lease", "USAGE on ledger_staged_id_seq", "UPDATE on langgraph.checkpoints")
        assert await prepared(apart) is Guarding.ROLES
        found = await standing(store, Part.DAEMON)
        assert (found.owns, found.missing, found.too_wide) == ("", (), ())


async def test_without_the_owner_s_url_the_roles_stay_apart(apart: ThreeRoles) -> None:
    """Migrated once by hand: the daemon need not know the owner's password."""
    assert await prepared(apart, owner_url=None) is Guarding.ROLES
    with pytest.raises(ConfigError, match="no other may prune"):
        await prepared(apart, owner_url=None, pruner_url=None)


async def test_a_new_version_cannot_migrate_without_the_owner(three_roles: ThreeRoles) -> None:
    with pytest.raises(StoreError, match="may not do this"):
        await prepared(three_roles, owner_url=None)


async def test_a_role_that_owns_the_tables_is_not_called_apart(apart: ThreeRoles) -> None:
    assert await prepared(apart, url=apart.owner, owner_url=None) is Guarding.TRIGGERS
    with pytest.raises(ConfigError, match="is a superuser") as refused:
        await prepared(apart, url=apart.superuser)
    assert refused.value.place == "database.url"
    with pytest.raises(ConfigError, match="owns its tables"):
        await prepared(apart, url=apart.owner)


async def test_a_database_of_one_role_is_handed_over_by_the_printed_statements(three_roles: ThreeRoles) -> None:
    """As before: one role made everything and owned it. Then its database gets an owner of its own."""
    was = three_roles.daemon.split("//")[1].split("@")[0]
    await execute(three_roles.superuser, f"GRANT CREATE ON SCHEMA public TO {was}")
    database = three_roles.daemon.rsplit("/", 1)[1]
    await execute(three_roles.superuser, f"GRANT CREATE ON DATABASE {database} TO {was}")
    assert await prepared(three_roles, owner_url=None, pruner_url=None) is Guarding.TRIGGERS
    await execute(three_roles.superuser, f"REVOKE CREATE ON SCHEMA public FROM {was}")
    await execute(three_roles.superuser, f"REVOKE CREATE ON DATABASE {database} FROM {was}")
    with pytest.raises(StoreError, match="may not do this"):
        await prepared(three_roles)
    owner = three_roles.owner.split("//")[1].split("@")[0]
    await execute(three_roles.superuser, f"REASSIGN OWNED BY {was} TO {owner}")
    assert await prepared(three_roles) is Guarding.ROLES


async def test_a_store_of_sqlite_has_no_roles(tmp_path: Path) -> None:
    store = Store(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
    assert await prepare(Settings(data_dir=tmp_path), store, store) is Guarding.TRIGGERS
    await store.close()
