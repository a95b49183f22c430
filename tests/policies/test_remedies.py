"""Remedies in force: one owner for each field, every change in the ledger."""

from __future__ import annotations

import pytest
from tests.testbed.authority import Authority, a_change, a_plan, a_remedy, entries

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType, RemedyRecorded
from watchkeeper.core.errors import ConflictError, NotFoundError
from watchkeeper.core.ids import RemedyId
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import Remedy, RemedyStatus
from watchkeeper.store.engine import Store


@pytest.fixture
def authority(store: Store) -> Authority:
    return Authority(store, ManualClock())


async def in_force(authority: Authority, plan: Plan) -> Remedy:
    await authority.claims.settle(await authority.taken(plan), Effect.SUCCEEDED, "http_200")
    remedy = a_remedy(plan, authority.clock.now())
    async with authority.store.write() as tx:
        await authority.remedies.record(tx, remedy)
    return remedy


async def test_a_remedy_is_found_by_incident_and_id(authority: Authority) -> None:
    one = await in_force(authority, a_plan())
    two = await in_force(authority, a_plan("pln_2", "inc_2", [a_change("k2")]))
    assert await authority.remedies.in_force() == (one, two)
    assert await authority.remedies.of_incident(two.incident) == (two,)
    assert await authority.remedies.get(two.id) == two
    with pytest.raises(NotFoundError):
        await authority.remedies.get(RemedyId("rem_none"))


async def test_a_field_never_has_two_owners(authority: Authority) -> None:
    remedy = await in_force(authority, a_plan())
    rival = a_remedy(a_plan("pln_2", "inc_2"), authority.clock.now())
    twin = remedy.model_copy(update={"id": RemedyId("rem_twin")})
    for other in (rival, twin):
        with pytest.raises(ConflictError):
            async with authority.store.write() as tx:
                await authority.remedies.record(tx, other)
    assert await authority.remedies.in_force() == (remedy,)
    assert len(await entries(authority.store, EntryType.REMEDY)) == 1


async def test_invariant_12_what_a_claim_reserved_is_ours_before_its_remedy_is_recorded(authority: Authority) -> None:
    plan = a_plan()
    assert await authority.remedies.reserved() == ()
    claim = await authority.taken(plan)
    reserved = await authority.remedies.reserved()
    assert [(each.incident, each.plan, each.step, each.since) for each in reserved] == [
        (plan.incident, plan.id, 0, claim.taken)
    ]
    await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    assert await authority.remedies.reserved() == reserved
    async with authority.store.write() as tx:
        await authority.remedies.record(tx, a_remedy(plan, authority.clock.now()))
    assert await authority.remedies.reserved() == ()


async def test_an_effect_that_failed_reserves_nothing(authority: Authority) -> None:
    await authority.claims.settle(await authority.taken(a_plan()), Effect.FAILED, "http_500")
    assert await authority.remedies.reserved() == ()


async def test_a_change_that_no_claim_reserved_is_not_recorded(authority: Authority) -> None:
    with pytest.raises(ConflictError, match="not reserved"):
        async with authority.store.write() as tx:
            await authority.remedies.record(tx, a_remedy(a_plan(), authority.clock.now()))


@pytest.mark.parametrize("end", [RemedyStatus.RELEASED, RemedyStatus.UNDONE, RemedyStatus.LOST])
async def test_it_may_relapse_but_its_end_is_final(authority: Authority, end: RemedyStatus) -> None:
    remedy = await in_force(authority, a_plan())
    steps = [
        remedy.model_copy(update={"status": RemedyStatus.RELEASING, "given_back": 0.5}),
        remedy.model_copy(update={"status": RemedyStatus.IN_FORCE, "given_back": 0.0, "relapses": 1}),
        remedy.model_copy(update={"status": end, "given_back": 1.0, "relapses": 1}),
    ]
    for step in steps:
        async with authority.store.write() as tx:
            await authority.remedies.update(tx, step, "step", remedy.change)
        assert await authority.remedies.get(remedy.id) == step
    assert await authority.remedies.in_force() == ()
    with pytest.raises(ConflictError, match="not in force"):
        async with authority.store.write() as tx:
            await authority.remedies.update(tx, remedy, "again")
    recorded = await entries(authority.store, EntryType.REMEDY)
    assert [entry.remedy for entry in recorded if isinstance(entry, RemedyRecorded)] == [remedy, *steps]
    await in_force(authority, a_plan("pln_2", "inc_2"))
