"""Caps that count what others do, held at the claim too: plans that were decided side by side cannot pass them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import Authority, a_change, a_plan, a_reading, a_record

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import ActionRequest, DecisionRecord, Verdict
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.policies.claiming.claims import Claims, Taken
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import from_texts

GRANT = """
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: all}
spec:
  match: {environments: ["*"], services: ["*"], agents: ["*"], runbooks: ["*"], intents: ["*"], targetKinds: ["*"]}
  autonomy: bounded
  failurePolicy: FAILURE
  caps: CAPS
"""


def policy_of(caps: str, failure: str = "Deny") -> Policy:
    return compile_policy(from_texts({"test.yaml": GRANT.replace("CAPS", caps).replace("FAILURE", failure)}))


def under(authority: Authority, policy: Policy) -> None:
    authority.policy, authority.version = policy, policy.version


async def decided(authority: Authority, plan: Plan) -> DecisionRecord:
    """As the remediator decides: on what has been done so far."""
    policy, now = authority.policy, authority.clock.now()
    known = await authority.facts.of(plan, policy.rate_windows, now)
    requests = tuple(
        ActionRequest(
            step=action.step,
            intent=action.intent,
            kind=action.kind,
            target=action.target,
            blast_count=1,
            blast_population=10,
            undo_captured=True,
            verification_declared=True,
            seconds_since_last=facts.seconds_since_last,
            running_on_target=facts.running,
        )
        for action, facts in zip(plan.actions, known.targets, strict=True)
    )
    record = a_record(plan)
    given = record.input.model_copy(
        update={"requests": requests, "rates": known.rates, "running_fleet": known.running_fleet, "at": now}
    )
    return record.model_copy(update={"input": given, "decision": decide(policy, given)})


def other(n: int, key: str = "") -> Plan:
    return a_plan(f"pln_{n}", f"inc_{n}", [a_change(key or f"k{n}")])


async def refusal(claims: Claims, authority: Authority, plan: Plan, record: DecisionRecord) -> str:
    with pytest.raises(RefusedError) as caught:
        await claims.take(await authority.request(plan, record=record))
    return caught.value.reason


@pytest.mark.parametrize(
    "caps", ["{rate: {count: 2, per: 1h}}", "{concurrency: {fleet: 2}}"], ids=["rate", "concurrency"]
)
async def test_invariant_1_plans_decided_side_by_side_pass_no_cap_together(authority: Authority, caps: str) -> None:
    under(authority, policy_of(caps))
    plans = [other(n) for n in range(6)]
    records = [await decided(authority, plan) for plan in plans]
    assert {record.decision.verdict for record in records} == {Verdict.ALLOW}
    requests = [await authority.request(plan, record=record) for plan, record in zip(plans, records, strict=True)]
    results = await asyncio.gather(*(authority.claims.take(each) for each in requests), return_exceptions=True)
    assert sum(isinstance(result, Taken) for result in results) == 2
    assert [result.reason for result in results if isinstance(result, RefusedError)] == ["cap_reached"] * 4


async def test_what_came_between_decision_and_claim_starts_a_cool_down(
    authority: Authority, clock: ManualClock
) -> None:
    under(authority, policy_of("{cooldown: 10m}"))
    first, second = other(1, "k"), a_plan("pln_2", "inc_2", [a_change("k", "tpm_limit")])
    record = await decided(authority, second)
    await authority.claims.settle(
        await authority.taken(first, record=await decided(authority, first)), Effect.SUCCEEDED, "ok"
    )
    assert await refusal(authority.claims, authority, second, record) == "cap_reached"
    clock.advance(timedelta(minutes=10).total_seconds())
    await authority.taken(second, record=await decided(authority, second))


async def test_a_plan_that_has_its_place_keeps_it_for_its_later_steps(authority: Authority) -> None:
    under(authority, policy_of("{concurrency: {fleet: 1}, rate: {count: 2, per: 1h}}"))
    plan, late = a_plan("pln_1", "inc_1", [a_change("k1"), a_change("k2")]), other(3)
    mine, theirs = await decided(authority, plan), await decided(authority, late)
    await authority.claims.settle(await authority.taken(plan, record=mine), Effect.SUCCEEDED, "ok")
    await authority.taken(plan, step=1, record=mine)
    assert await refusal(authority.claims, authority, late, theirs) == "cap_reached"


async def test_a_cap_that_asks_a_person_when_reached_is_asked_about_anew(authority: Authority) -> None:
    under(authority, policy_of("{concurrency: {fleet: 1}}", "RequireApproval"))
    first, second = other(1), other(2)
    alone, record = await decided(authority, first), await decided(authority, second)
    await authority.taken(first, record=alone)
    assert await refusal(authority.claims, authority, second, record) == "cap_reached"
    assert (await decided(authority, second)).decision.verdict is Verdict.REQUIRE_APPROVAL


async def test_where_no_cap_counts_others_do_not_stand_in_the_way(authority: Authority) -> None:
    under(authority, policy_of("{maxBlastCount: 1}"))
    plans = [other(n) for n in range(4)]
    records = [await decided(authority, plan) for plan in plans]
    for plan, record in zip(plans, records, strict=True):
        await authority.taken(plan, record=record, breach=a_reading(authority.clock.now()))
    assert len(await authority.claims.open_claims()) == 4


async def test_invariant_1_a_policy_that_comes_back_while_a_claim_is_on_its_way_is_not_counted_out_of_line(
    authority: Authority,
) -> None:
    """Another one was in force when the claim might have lined up: others may be counting beside it."""
    policy = policy_of("{concurrency: {fleet: 1}}")
    under(authority, policy)
    plan = a_plan()
    record = await decided(authority, plan)
    reads: list[Policy | None] = [None, policy]

    async def away_for_a_moment(tx: AsyncConnection, version: str) -> Policy | None:
        return reads.pop(0)

    authority.claims._active = away_for_a_moment
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(await authority.request(plan, record=record))
    assert caught.value.reason == "policy_changed"
    assert reads == []
