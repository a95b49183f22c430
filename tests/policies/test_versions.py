"""Activation, rollback and history on both databases, and a decision made again from the record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.decisions import a_grant, a_limit, an_input
from tests.testbed.stores import tampering

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.entries import EntryType, PolicyActivated
from watchkeeper.core.errors import ForbiddenError, NotFoundError, PolicyError, UnavailableError
from watchkeeper.core.ids import DecisionId
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies import versions as module
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import PolicySet, pack
from watchkeeper.policies.replay.decisions import decision_recomputer
from watchkeeper.policies.tables import policy_document
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.store.engine import Store

OPERATOR = Principal(id="olga", kind=PrincipalKind.PERSON, roles=(Role.OPERATOR,), authenticated_by="token")
VIEWER = Principal(id="vic", kind=PrincipalKind.PERSON, roles=(Role.VIEWER,), authenticated_by="token")
DAEMON = Principal(id="daemon", kind=PrincipalKind.DAEMON, roles=(), authenticated_by="internal")
ONE, TWO = PolicySet((a_grant(),)), PolicySet((a_grant(), a_limit(autonomy="propose")))


class RecordingLedger(Ledger):
    """The real ledger, remembering what went through it."""

    async def append(self, tx, *drafts):  # type: ignore[no-untyped-def]
        self.seen = [*getattr(self, "seen", []), *drafts]
        return await super().append(tx, *drafts)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(store: Store, clock: ManualClock) -> RecordingLedger:
    return RecordingLedger(store, clock, source="test", writer="w")


@pytest.fixture
def versions(store: Store, ledger: RecordingLedger, clock: ManualClock) -> PolicyVersions:
    return PolicyVersions(store, ledger, clock)


def activated(ledger: RecordingLedger) -> list[PolicyActivated]:
    return [
        draft.data
        for draft in getattr(ledger, "seen", [])
        if draft.type is EntryType.POLICY_ACTIVATED and isinstance(draft.data, PolicyActivated)
    ]


async def test_activate_and_roll_back(
    versions: PolicyVersions, ledger: RecordingLedger, store: Store, clock: ManualClock
) -> None:
    with pytest.raises(UnavailableError, match="no policy is active"):
        await versions.active()
    first = await versions.activate(ONE, DAEMON)
    clock.advance(1)
    second = await versions.activate(TWO, OPERATOR, "quieter nights")
    assert (await versions.active()).version == second
    assert decide(await versions.active(), an_input()).verdict is Verdict.REQUIRE_APPROVAL
    clock.advance(1)
    await versions.rollback(first, OPERATOR)
    assert (await versions.active()).version == first
    assert decide(await versions.active(), an_input()).verdict is Verdict.ALLOW
    assert [(line.version, line.previous, line.author) for line in await versions.history()] == [
        (first, second, "olga"),
        (second, first, "olga"),
        (first, None, "daemon"),
    ]
    entries = activated(ledger)
    assert [(entry.version, entry.previous, len(entry.documents)) for entry in entries] == [
        (first, None, 1),
        (second, first, 2),
        (first, second, 1),
    ]
    reason = entries[1].reason
    assert reason is not None
    assert await Evidence(store).get(reason.commitment) == b"quieter nights"
    assert (await versions.history())[1].reason == reason.commitment


async def test_activating_what_is_active_changes_nothing(versions: PolicyVersions, ledger: RecordingLedger) -> None:
    first = await versions.activate(ONE, OPERATOR)
    assert await versions.activate(PolicySet(tuple(reversed(ONE.documents))), OPERATOR) == first
    assert len(activated(ledger)) == 1
    assert len(await versions.history()) == 1


async def test_another_process_sees_the_new_version_at_once(
    versions: PolicyVersions, ledger: RecordingLedger, store: Store, clock: ManualClock
) -> None:
    other = PolicyVersions(store, ledger, clock)
    await versions.activate(ONE, OPERATOR)
    assert (await other.active()).version == (await versions.active()).version
    second = await versions.activate(TWO, OPERATOR)
    assert (await other.active()).version == second


async def test_who_may_not_change_the_policy_changes_nothing(versions: PolicyVersions, ledger: RecordingLedger) -> None:
    with pytest.raises(ForbiddenError):
        await versions.activate(ONE, VIEWER)
    first = await versions.activate(ONE, DAEMON)
    for principal in (VIEWER, DAEMON):
        with pytest.raises(ForbiddenError):
            await versions.activate(TWO, principal)
        with pytest.raises(ForbiddenError):
            await versions.rollback((await versions.activate(TWO, OPERATOR)), principal)
        await versions.rollback(first, OPERATOR)
    assert (await versions.active()).version == first


async def test_a_policy_that_does_not_compile_leaves_the_old_one(versions: PolicyVersions) -> None:
    first = await versions.activate(ONE, OPERATOR)
    with pytest.raises(PolicyError):
        await versions.activate(PolicySet((a_grant(), a_grant())), OPERATOR)
    with pytest.raises(NotFoundError):
        await versions.rollback("sha256:absent", OPERATOR)
    assert (await versions.active()).version == first


async def test_a_ledger_that_fails_leaves_the_old_policy(
    versions: PolicyVersions, ledger: RecordingLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await versions.activate(ONE, OPERATOR)

    async def fail(*_: object) -> None:
        raise UnavailableError("the ledger is gone")

    monkeypatch.setattr(ledger, "append", fail)
    with pytest.raises(UnavailableError):
        await versions.activate(TWO, OPERATOR)
    assert (await versions.active()).version == first
    assert len(await versions.history()) == 1


async def test_a_stored_document_that_was_changed_is_found(
    versions: PolicyVersions, ledger: RecordingLedger, store: Store, clock: ManualClock
) -> None:
    await versions.activate(ONE, OPERATOR)
    async with tampering(store) as tx:
        await tx.execute(update(policy_document).values(body=a_grant(autonomy="full").body()))
    with pytest.raises(UnavailableError, match="is not what its digest says"):
        await PolicyVersions(store, ledger, clock).active()


async def test_a_claim_gets_the_version_that_decided_or_none(
    versions: PolicyVersions, ledger: RecordingLedger, store: Store, clock: ManualClock
) -> None:
    first = await versions.activate(ONE, OPERATOR)
    second = await versions.activate(TWO, OPERATOR)
    restarted = PolicyVersions(store, ledger, clock)
    async with store.read() as tx:
        assert await restarted.if_active(tx, first) is None
        found = await restarted.if_active(tx, second)
        assert found is not None
        assert found.version == second
        assert await restarted.if_active(tx, second) is found, "it is compiled once"


async def test_nothing_is_compiled_while_a_transaction_is_open(
    versions: PolicyVersions,
    ledger: RecordingLedger,
    store: Store,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL ends one that says nothing for two seconds; a large policy takes longer on a busy machine."""
    open_now, compiled = 0, 0
    read, write = store.read, store.write

    @asynccontextmanager
    async def counted(opened: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
        nonlocal open_now
        async with opened as tx:
            open_now += 1
            try:
                yield tx
            finally:
                open_now -= 1

    def alone(documents: PolicySet) -> Policy:
        nonlocal compiled
        assert open_now == 0
        compiled += 1
        return compile_policy(documents)

    monkeypatch.setattr(store, "read", lambda: counted(read()))
    monkeypatch.setattr(store, "write", lambda *given: counted(write(*given)))
    monkeypatch.setattr(module, "compile_policy", alone)
    version = await versions.activate(ONE, OPERATOR)
    restarted = PolicyVersions(store, ledger, clock)
    assert (await restarted.active()).version == version
    assert (await restarted.load(version)).version == version
    assert compiled == 3


async def test_large_policies_are_kept_whole(versions: PolicyVersions, ledger: RecordingLedger) -> None:
    many = PolicySet(tuple(a_limit(f"l{n}") for n in range(1200)))
    version = await versions.activate(many, OPERATOR)
    assert len((await versions.load(version)).nodes) == 1200
    assert activated(ledger)[0].documents == ()


async def test_invariant_8_a_recorded_decision_is_made_again_byte_for_byte(versions: PolicyVersions) -> None:
    await versions.activate(pack("demo"), OPERATOR)
    policy = await versions.active()
    given = an_input()
    record = DecisionRecord(id=DecisionId("dec_1"), input=given, decision=decide(policy, given))
    await versions.activate(ONE, OPERATOR)
    kept = await versions.every()
    stored = DecisionRecord.model_validate_json(canonical_model(record))
    again = decision_recomputer(kept.__getitem__)(stored)
    assert canonical_model(again) == canonical_model(record)
