"""The claiming transaction: every gate by name (invariant 1), one effect per key (invariant 4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import (
    BREACH,
    Authority,
    a_change,
    a_plan,
    a_reading,
    a_record,
    a_remedy,
    an_operator,
    entries,
)

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.claims import MAX_CLAIM_S, EffectPhase
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import Verdict
from watchkeeper.core.entries import ClaimRefused, EntryType
from watchkeeper.core.errors import ConflictError, NotFoundError, RefusedError
from watchkeeper.core.ids import ActionKey, IncidentId, OrderId
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.core.sli import SliStatus
from watchkeeper.policies.claiming.claims import Busy, Settled, Taken


async def refusal(authority: Authority, plan: Plan, **changes: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(await authority.request(plan, **changes))
    recorded = (await entries(authority.store, EntryType.CLAIM_REFUSED))[-1]
    assert isinstance(recorded, ClaimRefused)
    assert (recorded.reason, recorded.plan_hash) == (caught.value.reason, plan.plan_hash)
    return caught.value.reason


async def test_invariant_1_a_claim_is_one_commit_with_its_entry(authority: Authority, clock: ManualClock) -> None:
    plan = a_plan()
    claim = await authority.taken(plan, valid_s=60.0)
    assert (claim.key, claim.fence, claim.plan_hash) == ("pln_1/0/apply", 1, plan.plan_hash)
    assert (claim.not_after - clock.now()).total_seconds() == MAX_CLAIM_S
    assert await entries(authority.store) == [claim]
    assert await authority.claims.open_claims() == (claim,)
    assert await authority.claims.still_valid(claim)
    clock.advance(MAX_CLAIM_S)
    assert not await authority.claims.still_valid(claim)


async def test_invariant_1_a_ledger_that_fails_leaves_no_claim(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise OSError("no ledger")

    request = await authority.request(a_plan())
    monkeypatch.setattr(authority.ledger, "append", broken)
    with pytest.raises(OSError, match="no ledger"):
        await authority.claims.take(request)
    assert await authority.claims.open_claims() == ()


async def test_invariant_1_every_gate_refuses_by_name(authority: Authority, clock: ManualClock) -> None:
    plan, now = a_plan(), clock.now()
    other = a_plan("pln_2")
    forged = a_record(plan)
    forged = forged.model_copy(update={"input": forged.input.model_copy(update={"confidence": 1.0})})
    elsewhere = BREACH.model_copy(update={"threshold": 1e9})
    cases: dict[str, list[dict[str, Any]]] = {
        "not_allowed": [{"record": a_record(plan, verdict)} for verdict in (Verdict.SHADOW, Verdict.DENY)],
        "plan_mismatch": [{"record": a_record(other)}, {"record": forged}],
        "policy_changed": [{"record": a_record(plan, version="sha256:older")}],
        "approval_missing": [{"record": a_record(plan, Verdict.REQUIRE_APPROVAL)}],
        "epochs_incomplete": [{"epochs": ()}],
        "out_of_bounds": [{"n": 3}, {"phase": EffectPhase.RELEASE, "n": 99}],
        "moot": [{"breach": a_reading(now, SliStatus.MET)}],
        "breach_unknown": [
            {"breach": None},
            {"breach": a_reading(now, SliStatus.INCONCLUSIVE)},
            {"breach": a_reading(now, sli=elsewhere)},
        ],
    }
    for reason, requests in cases.items():
        for changes in requests:
            assert await refusal(authority, plan, **changes) == reason
    old = a_reading(now)
    clock.advance(5.1)
    assert await refusal(authority, plan, breach=old) == "breach_stale"
    assert await authority.claims.open_claims() == ()
    assert await entries(authority.store, EntryType.CLAIM) == []


async def test_invariant_1_an_edited_plan_is_another_plan(authority: Authority) -> None:
    plan = a_plan()
    edited = plan.model_copy(update={"changes": (a_change("k1", "tpm_limit"),)})
    assert await refusal(authority, edited, record=a_record(plan)) == "plan_mismatch"


async def test_invariant_1_no_active_policy_means_no_claim(authority: Authority) -> None:
    authority.version = None
    assert await refusal(authority, a_plan()) == "policy_changed"


async def test_invariant_1_giving_back_needs_neither_breach_nor_the_old_policy(authority: Authority) -> None:
    plan = a_plan()
    claim = await authority.taken(plan)
    await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    authority.version = "sha256:newer"
    release = await authority.taken(plan, phase=EffectPhase.RELEASE, breach=None)
    await authority.claims.settle(release, Effect.SUCCEEDED, "http_200")
    await authority.taken(plan, phase=EffectPhase.UNDO, breach=None)
    assert await refusal(authority, plan, n=1) == "policy_changed"


async def test_invariant_11_a_clock_that_stepped_back_stops_claims(authority: Authority, clock: ManualClock) -> None:
    claim = await authority.taken(a_plan())
    await authority.claims.settle(claim, Effect.FAILED, "not_sent")
    clock.step_wall(-60)
    assert await refusal(authority, a_plan("pln_2")) == "clock_stepped_back"


async def test_one_unsettled_effect_on_a_target(authority: Authority) -> None:
    first = await authority.taken(a_plan())
    second = a_plan("pln_2", "inc_2", [a_change(path="tpm_limit")])
    assert await refusal(authority, second) == "target_busy"
    await authority.taken(a_plan("pln_3", "inc_3", [a_change("k2")]))
    await authority.claims.settle(first, Effect.UNKNOWN, "timeout")
    assert await refusal(authority, second) == "target_busy"
    await authority.claims.settle(first, Effect.SUCCEEDED, "observed")
    await authority.taken(second)


async def test_a_field_that_another_plan_holds_is_refused(authority: Authority, clock: ManualClock) -> None:
    plan, rival = a_plan(), a_plan("pln_2", "inc_2")
    await authority.claims.settle(await authority.taken(plan), Effect.SUCCEEDED, "http_200")
    assert await refusal(authority, rival) == "conflict_in_force"
    remedy = a_remedy(plan, clock.now())
    async with authority.store.write() as tx:
        await authority.remedies.record(tx, remedy)
    assert await refusal(authority, rival) == "conflict_in_force"
    restart = rival.model_copy(
        update={"actions": (rival.actions[0].model_copy(update={"kind": ActionKind.SELF_RESTORING}),)}
    )
    assert await refusal(authority, restart, record=a_record(restart)) == "conflict_in_force"
    released = remedy.model_copy(update={"status": RemedyStatus.RELEASED, "given_back": 1.0})
    async with authority.store.write() as tx:
        await authority.remedies.update(tx, released, "recovered")
    await authority.taken(rival)


async def test_an_effect_that_did_not_happen_holds_no_field(authority: Authority) -> None:
    claim = await authority.taken(a_plan())
    await authority.claims.settle(claim, Effect.FAILED, "refused_by_target")
    await authority.taken(a_plan("pln_2", "inc_2"))


async def test_invariant_4_one_effect_per_key_among_racing_holders(authority: Authority) -> None:
    plan = a_plan()
    requests = [await authority.request(plan, holder=f"w{n}") for n in range(8)]
    results = await asyncio.gather(*(authority.claims.take(request) for request in requests))
    assert sorted(type(result).__name__ for result in results) == ["Busy"] * 7 + ["Taken"]
    assert len(await entries(authority.store, EntryType.CLAIM)) == 1


async def test_invariant_4_rivals_for_one_target_get_one_claim(authority: Authority) -> None:
    plans = [a_plan(f"pln_{n}", f"inc_{n}") for n in range(6)]
    requests = [await authority.request(plan) for plan in plans]
    results = await asyncio.gather(*(authority.claims.take(r) for r in requests), return_exceptions=True)
    taken = [result for result in results if isinstance(result, Taken)]
    refused = [result.reason for result in results if isinstance(result, RefusedError)]
    assert len(taken) == 1
    assert len(refused) == 5
    assert set(refused) <= {"target_busy", "conflict_in_force"}


async def test_invariant_4_a_settled_key_answers_with_its_outcome(authority: Authority) -> None:
    plan = a_plan()
    claim = await authority.taken(plan)
    outcome = await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    await authority.epochs.stop("all", an_operator())
    assert await authority.claims.take(await authority.request(plan)) == Settled(outcome)
    assert await authority.claims.outcome(claim.key) == outcome
    with pytest.raises(ConflictError):
        await authority.claims.settle(claim, Effect.FAILED, "late")
    assert await entries(authority.store, EntryType.EFFECT) == [outcome]


async def test_invariant_4_unknown_stays_open_until_it_is_observed(authority: Authority) -> None:
    claim = await authority.taken(a_plan())
    unknown = await authority.claims.settle(claim, Effect.UNKNOWN, "timeout")
    assert await authority.claims.open_claims() == (claim,)
    assert await authority.claims.outcome(claim.key) == unknown
    assert not await authority.claims.still_valid(claim)
    settled = await authority.claims.settle(claim, Effect.SUCCEEDED, "observed")
    assert await authority.claims.open_claims() == ()
    assert await entries(authority.store, EntryType.EFFECT) == [unknown, settled]


async def test_invariant_4_takeover_only_after_the_lease_and_never_fresh(
    authority: Authority, clock: ManualClock
) -> None:
    plan = a_plan()
    first = await authority.taken(plan)
    clock.advance(MAX_CLAIM_S + 1)
    assert isinstance(await authority.claims.take(await authority.request(plan, holder="w2")), Busy)
    clock.advance(1)
    again = await authority.claims.take(await authority.request(plan, holder="w2"))
    assert isinstance(again, Taken)
    assert (again.fresh, again.refusal, again.claim.fence, again.claim.id) == (False, "", 2, first.id)
    assert await authority.claims.still_valid(again.claim)
    assert not await authority.claims.still_valid(first)
    with pytest.raises(ConflictError):
        await authority.claims.settle(first, Effect.SUCCEEDED, "http_200")
    outcome = await authority.claims.settle(again.claim, Effect.SUCCEEDED, "observed")
    assert outcome == EffectOutcome.model_validate((await entries(authority.store, EntryType.EFFECT))[0].model_dump())


async def test_invariant_2_after_a_stop_a_takeover_may_look_but_not_send(
    authority: Authority, clock: ManualClock
) -> None:
    plan = a_plan()
    await authority.taken(plan)
    clock.advance(60)
    await authority.epochs.stop("service:prod/chat", an_operator())
    again = await authority.claims.take(await authority.request(plan, holder="w2"))
    assert isinstance(again, Taken)
    assert (again.fresh, again.refusal) == (False, "stopped")
    assert not await authority.claims.still_valid(again.claim)
    assert len(await entries(authority.store, EntryType.CLAIM)) == 1
    await authority.claims.settle(again.claim, Effect.FAILED, "observed_absent")
    await authority.epochs.resume("service:prod/chat", an_operator())
    await authority.taken(a_plan("pln_2", "inc_2"))


async def test_invariant_1_a_takeover_passes_every_gate_again_before_it_may_send(
    authority: Authority, clock: ManualClock
) -> None:
    plan = a_plan()
    await authority.taken(plan)
    clock.advance(60)
    moot = await authority.request(plan, breach=a_reading(clock.now(), SliStatus.MET))
    looked = await authority.claims.take(moot)
    assert isinstance(looked, Taken)
    assert looked.refusal == "moot"
    assert not await authority.claims.still_valid(looked.claim)
    clock.advance(60)
    again = await authority.claims.take(await authority.request(plan))
    assert isinstance(again, Taken)
    assert (again.refusal, again.fresh, again.claim.fence) == ("", False, 3)
    assert await authority.claims.still_valid(again.claim)


async def test_a_failed_undo_leaves_the_field_held(authority: Authority) -> None:
    plan = a_plan()
    await authority.claims.settle(await authority.taken(plan), Effect.SUCCEEDED, "http_200")
    undo = await authority.taken(plan, phase=EffectPhase.UNDO)
    await authority.claims.settle(undo, Effect.FAILED, "refused_by_target")
    assert await refusal(authority, a_plan("pln_2", "inc_2")) == "conflict_in_force"


async def test_invariant_4_takeover_for_observation_sends_nothing(authority: Authority, clock: ManualClock) -> None:
    claim = await authority.taken(a_plan())
    assert isinstance(await authority.claims.takeover(claim.key, "w2"), Busy)
    clock.advance(60)
    looked = await authority.claims.takeover(claim.key, "w2")
    assert isinstance(looked, Taken)
    assert not await authority.claims.still_valid(looked.claim)
    outcome = await authority.claims.settle(looked.claim, Effect.SUCCEEDED, "observed")
    assert await authority.claims.takeover(claim.key, "w3") == Settled(outcome)
    with pytest.raises(NotFoundError):
        await authority.claims.takeover(ActionKey("pln_9/0/apply"), "w2")


async def test_facts_count_what_we_do(authority: Authority, clock: ManualClock) -> None:
    plan, next_plan = a_plan(), a_plan("pln_2", "inc_2")
    before = await authority.facts.of(next_plan, (60, 3600), clock.now())
    assert [rate.count for rate in before.rates] == [0, 0]
    assert (before.running_fleet, before.conflicts, before.targets[0].seconds_since_last) == (0, (), None)
    claim = await authority.taken(plan)
    clock.advance(90)
    during = await authority.facts.of(next_plan, (60, 3600), clock.now())
    assert [(rate.window_s, rate.count) for rate in during.rates] == [(60, 0), (3600, 1)]
    assert (during.running_fleet, during.targets[0].running, during.targets[0].seconds_since_last) == (1, 1, 90)
    await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    async with authority.store.write() as tx:
        await authority.remedies.record(tx, a_remedy(plan, clock.now()))
    after = await authority.facts.of(next_plan, (60,), clock.now())
    assert (after.running_fleet, after.conflicts) == (1, ("rem_pln_1_0",))
    assert (await authority.facts.of(plan, (60,), clock.now())).running_fleet == 0
    elsewhere = a_plan("pln_3", IncidentId("inc_3"), [a_change("k2")])
    assert (await authority.facts.of(elsewhere, (), clock.now())).targets[0].running == 0


async def test_invariant_10_a_refusal_is_told_once_for_as_long_as_its_reason_stays(authority: Authority) -> None:
    plan, stopper = a_plan(), an_operator()
    for _ in range(3):
        assert await refusal(authority, plan, breach=None) == "breach_unknown"
    await authority.epochs.stop("all", stopper)
    for _ in range(3):
        assert await refusal(authority, plan) == "stopped"
    await authority.epochs.resume("all", stopper)
    claim = await authority.taken(plan)
    await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    told = await entries(authority.store, EntryType.CLAIM_REFUSED)
    assert [each.reason for each in told if isinstance(each, ClaimRefused)] == ["breach_unknown", "stopped"]


async def test_invariant_10_an_effect_that_stays_unknown_is_told_once(authority: Authority) -> None:
    claim = await authority.taken(a_plan())
    for _ in range(3):
        await authority.claims.settle(claim, Effect.UNKNOWN, "not_observed")
    await authority.claims.settle(claim, Effect.SUCCEEDED, "observed")
    told = await entries(authority.store, EntryType.EFFECT)
    assert [each.effect for each in told if isinstance(each, EffectOutcome)] == [Effect.UNKNOWN, Effect.SUCCEEDED]


async def test_a_persons_undo_has_keys_of_its_own_and_is_bounded_too(authority: Authority) -> None:
    plan, order = a_plan(), OrderId("ord_1")
    undo = {"phase": EffectPhase.UNDO, "breach": None}
    first = await authority.taken(plan, **undo)
    await authority.claims.settle(first, Effect.FAILED, "not_sent")
    ordered = await authority.taken(plan, **undo, order=order)
    assert (first.key, ordered.key) == ("pln_1/0/undo", "pln_1/0/undo/ord_1")
    await authority.claims.settle(ordered, Effect.FAILED, "not_sent")
    assert await refusal(authority, plan, **undo, order=order, n=4) == "out_of_bounds"
    assert await refusal(authority, plan, order=order) == "out_of_bounds"


async def test_what_follows_from_an_effect_is_written_with_it_or_not_at_all(authority: Authority) -> None:
    claim = await authority.taken(a_plan())

    async def broken(tx: AsyncConnection, outcome: EffectOutcome) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200", broken)
    assert await authority.claims.open_claims() == (claim,)
    assert await entries(authority.store, EntryType.EFFECT) == []
