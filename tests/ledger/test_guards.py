"""Invariant 8, as far as the database itself holds it: what is on record is refused to whoever would change it.

These statements come through the daemon's own connection, as a bug's would. Who owns the tables can drop the guards:
tests/ledger/checks/test_verify.py is about what is found then.
"""

from __future__ import annotations

import pytest
from sqlalchemy import Executable, Table, delete, insert, select, text, update
from tests.testbed.decisions import a_grant
from tests.testbed.ledgers import Log, draft
from tests.testbed.stores import unguarded

from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import LedgerError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.ledger.cosigning import cosigned
from watchkeeper.ledger.cosigning.cosignature import CosigningKey
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.signing.note import Note
from watchkeeper.ledger.tables import (
    PERMANENT,
    evidence,
    ledger_checkpoint,
    ledger_cosignature,
    ledger_entry,
    ledger_head,
    ledger_pending,
    ledger_pruned,
    ledger_staged,
    ledger_tile,
    ledger_writer,
)
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.tables import policy_activation, policy_active, policy_document, policy_version
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.store.engine import Store

WITNESS = CosigningKey.generate("one.example/w")
OPERATOR = Principal(id="olga", kind=PrincipalKind.PERSON, roles=(Role.OPERATOR,), authenticated_by="token")
APPEND_ONLY = (
    ledger_staged,
    ledger_entry,
    ledger_tile,
    ledger_checkpoint,
    ledger_cosignature,
    ledger_pruned,
    policy_document,
    policy_version,
    policy_activation,
)
GUARDED = (*APPEND_ONLY, ledger_head, ledger_writer, ledger_pending, evidence)


@pytest.fixture
async def log(store: Store) -> Log:
    """A log with a row in every table that is guarded, and its entries 0 and 1 marked as pruned."""
    log = Log(store)
    await log.grow(2, 300)
    await log.append(draft())
    async with store.write() as tx:
        now = log.clock.now()
        await Evidence(store).put(tx, EvidenceKind.CALLS, b"{}")
        (signed,) = await tx.execute(select(ledger_checkpoint.c.body).where(ledger_checkpoint.c.size == 2))
        line = WITNESS.cosign(Note.from_text(signed.body).text, int(now.timestamp()))
        await cosigned.put(tx, 2, WITNESS.public, line, now)
        await tx.execute(insert(ledger_pruned).values(end=2, last_staged_id=2, at=now))
    await PolicyVersions(store, log.ledger, log.clock).activate(PolicySet((a_grant(),)), OPERATOR)
    return log


async def rows(store: Store, table: Table) -> list[tuple[object, ...]]:
    async with store.read() as tx:
        return [tuple(row) for row in await tx.execute(select(table).order_by(*table.primary_key.columns))]


async def execute(store: Store, *statements: Executable) -> None:
    async with store.write() as tx:
        for each in statements:
            await tx.execute(each)


async def refused(store: Store, *statements: Executable, match: str) -> None:
    """The last of the statements of one transaction, at the latest."""
    with pytest.raises(LedgerError, match=match) as error:
        await execute(store, *statements)
    assert "watchkeeper ledger verify" in error.value.next_step


@pytest.mark.parametrize("table", APPEND_ONLY, ids=lambda table: str(table.name))
async def test_invariant_8_no_row_on_record_is_changed_or_goes(log: Log, store: Store, table: Table) -> None:
    before = await rows(store, table)
    assert before
    first = next(iter(table.columns))
    await refused(store, update(table).values({first: first}), match=f"{table.name} is append-only: UPDATE refused")
    await refused(store, delete(table), match=f"{table.name} is append-only: DELETE refused")
    assert await rows(store, table) == before


@pytest.mark.parametrize("table", GUARDED, ids=lambda table: str(table.name))
async def test_invariant_8_no_table_on_record_is_emptied(log: Log, store: Store, table: Table) -> None:
    """TRUNCATE on PostgreSQL, also for a session that calls itself a replica; on SQLite REPLACE, which deletes too."""
    before = await rows(store, table)
    if store.is_sqlite:
        if table in APPEND_ONLY:
            again = text(f"REPLACE INTO {table.name} SELECT * FROM {table.name}")
            await refused(store, again, match=f"{table.name} .* refused")
    else:
        empty = text(f"TRUNCATE {table.name} CASCADE")
        replica = text("SET LOCAL session_replication_role = replica")
        await refused(store, empty, match=f"{table.name} .*: TRUNCATE refused")
        await refused(store, replica, empty, match="TRUNCATE refused")
    assert await rows(store, table) == before


async def test_what_is_pruned_may_go_and_nothing_else(log: Log, store: Store) -> None:
    kept = await rows(store, ledger_staged)
    await refused(store, delete(ledger_staged).where(ledger_staged.c.id == 3), match="DELETE refused")
    async with store.write() as tx:
        gone = await tx.execute(delete(ledger_staged).where(ledger_staged.c.id <= 2))
        assert gone.rowcount == 2
    assert await rows(store, ledger_staged) == kept[2:]


@pytest.mark.parametrize("kind", PERMANENT)
async def test_entries_about_the_record_itself_are_never_pruned(store: Store, kind: EntryType) -> None:
    log = Log(store)
    async with store.write() as tx:
        row = {"entry_id": "x", "writer": "w", "seq": 1, "subject": "", "time": log.clock.now(), "body": b""}
        await tx.execute(insert(ledger_staged).values(type=kind, **row))
        await tx.execute(insert(ledger_entry).values(idx=0, staged_id=1, leaf=bytes(32)))
        await tx.execute(insert(ledger_pruned).values(end=1, last_staged_id=1, at=log.clock.now()))
    await refused(store, delete(ledger_staged), match="DELETE refused")


async def test_an_entry_without_an_index_is_never_pruned(log: Log, store: Store) -> None:
    """Not even one whose id lies below the mark: ids become visible out of order."""
    async with store.write() as tx:
        await tx.execute(insert(ledger_pruned).values(end=10**6, last_staged_id=10**6, at=log.clock.now()))
    (waiting, *_) = [row[0] for row in await rows(store, ledger_pending)]
    await refused(store, delete(ledger_staged).where(ledger_staged.c.id == waiting), match="DELETE refused")


async def test_a_temporary_table_does_not_fool_the_guard(log: Log, store: Store) -> None:
    """PostgreSQL looks for a name among temporary tables first, unless it is told otherwise."""
    double = text('CREATE TEMPORARY TABLE ledger_pruned ("end" bigint, last_staged_id bigint)')
    filled = text("INSERT INTO ledger_pruned VALUES (1000, 1000)")
    third = delete(ledger_staged).where(ledger_staged.c.id == 3)
    await refused(store, double, filled, third, match="DELETE refused")


async def test_marks_of_pruning_only_grow(log: Log, store: Store) -> None:
    for end, last in ((1, 3), (3, 1)):
        mark = insert(ledger_pruned).values(end=end, last_staged_id=last, at=log.clock.now())
        await refused(store, mark, match="ledger_pruned only grows: INSERT refused")


async def test_a_checkpoint_behind_the_last_one_is_refused(log: Log, store: Store) -> None:
    for size in (1, 2, 301, 302):
        note = insert(ledger_checkpoint).values(size=size, body="", signed_at=log.clock.now())
        await refused(store, note, match="ledger_checkpoint only grows: INSERT refused")


@pytest.mark.parametrize(
    "values", [{"size": 301}, {"last_time": None}, {"fence": 0}, {"peaks": b"x"}], ids=lambda values: next(iter(values))
)
async def test_the_head_goes_back_in_nothing(log: Log, store: Store, values: dict[str, object]) -> None:
    await refused(store, update(ledger_head).values(values), match="ledger_head never goes back: UPDATE refused")


async def test_the_time_of_the_head_goes_forward_only(log: Log, store: Store) -> None:
    behind = log.clock.now().replace(year=2000)
    await refused(store, update(ledger_head).values(last_time=behind), match="ledger_head never goes back")
    await refused(store, delete(ledger_head), match="ledger_head never goes back: DELETE refused")


@pytest.mark.parametrize("values", [{"seq": 1}, {"prev_hash": bytes(32)}, {"writer": "x"}], ids=str)
async def test_a_writer_s_count_goes_forward_only(log: Log, store: Store, values: dict[str, object]) -> None:
    await refused(store, update(ledger_writer).values(values), match="ledger_writer never goes back: UPDATE refused")
    await refused(store, delete(ledger_writer), match="ledger_writer never goes back: DELETE refused")


async def test_evidence_may_go_and_is_never_changed(log: Log, store: Store) -> None:
    await refused(store, update(evidence).values(body=b""), match="evidence may be erased, not changed: UPDATE refused")
    async with store.write() as tx:
        assert (await tx.execute(delete(evidence))).rowcount > 0


async def test_the_log_and_the_active_policy_go_on_under_guard(log: Log, store: Store) -> None:
    await refused(
        store, update(ledger_pending).values(id=7), match="ledger_pending holds ids, not values: UPDATE refused"
    )
    async with store.write() as tx:
        await tx.execute(update(policy_active).values(version=policy_active.c.version))
    while await log.sequencer.run_once():
        continue
    assert (await log.verify()).ok


async def test_who_owns_the_database_can_drop_the_guards(log: Log, store: Store) -> None:
    """Which is why verify trusts none of them."""
    async with store.write() as tx:
        await unguarded(tx)
        await tx.execute(delete(ledger_tile))
        await tx.execute(delete(ledger_entry))
    assert not (await log.verify()).ok
