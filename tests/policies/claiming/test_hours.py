"""Windows and freezes hold at the claim too: what was decided in time is not done when its time is over."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from tests.policies.claiming.test_counted import decided
from tests.testbed.authority import Authority, a_change, a_person, a_plan

from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Role
from watchkeeper.policies.claiming.claims import Taken
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.conditions.when import offsets_at
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import from_texts

GRANT = """
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: all}
spec:
  match: {environments: ["*"], services: ["*"], agents: ["*"], runbooks: ["*"], intents: ["*"], targetKinds: ["*"]}
  autonomy: AUTONOMY
---
apiVersion: watchkeeper.dev/v1
kind: Limit
metadata: {name: hours}
spec:
  WHEN
  failurePolicy: FAILURE
"""
OFFICE = 'windows: [{start: "12:00", end: "17:00", zone: Europe/Berlin}]'
FREEZE = "freezes: [{name: launch, start: 2026-07-01T15:00:00Z, end: 2026-07-02T00:00:00Z}]"
ANN = a_person("ann", Role.APPROVER)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 7, 1, 14, 50, tzinfo=UTC))


def under(authority: Authority, when: str, autonomy: str = "bounded", failure: str = "Deny") -> None:
    text = GRANT.replace("AUTONOMY", autonomy).replace("WHEN", when).replace("FAILURE", failure)
    authority.policy = compile_policy(from_texts({"test.yaml": text}))
    authority.version = authority.policy.version


async def in_time(authority: Authority, plan: Plan) -> DecisionRecord:
    """Decided now, with the zones' offsets."""
    record = await decided(authority, plan)
    offsets = offsets_at(authority.policy.zones, authority.clock.now())
    given = record.input.model_copy(update={"offsets": offsets})
    return record.model_copy(update={"input": given, "decision": decide(authority.policy, given)})


async def refusal(authority: Authority, plan: Plan, record: DecisionRecord) -> str:
    asked = None
    if record.decision.verdict is Verdict.REQUIRE_APPROVAL:
        asked = await authority.approved(plan, record, ANN)
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(await authority.request(plan, record=record, approval=asked))
    return caught.value.reason


@pytest.mark.parametrize(("when", "reason"), [(OFFICE, "outside_window"), (FREEZE, "frozen")])
@pytest.mark.parametrize("autonomy", ["bounded", "propose"])
async def test_invariant_1_what_was_decided_in_time_is_not_claimed_when_it_is_over(
    authority: Authority, clock: ManualClock, when: str, reason: str, autonomy: str
) -> None:
    under(authority, when, autonomy)
    clock.advance(-60 * 60 if when == OFFICE else 0)  # Berlin is two hours ahead of UTC: 15:50 there
    plan = a_plan()
    record = await in_time(authority, plan)
    assert record.decision.verdict is (Verdict.ALLOW if autonomy == "bounded" else Verdict.REQUIRE_APPROVAL)
    clock.advance(90 * 60)
    assert await refusal(authority, plan, record) == reason
    assert await authority.claims.open_claims() == ()


async def test_what_has_begun_is_not_left_half_done(authority: Authority, clock: ManualClock) -> None:
    under(authority, FREEZE)
    plan = a_plan(changes=[a_change("k1"), a_change("k2")])
    record = await in_time(authority, plan)
    await authority.claims.settle(await authority.taken(plan, record=record), Effect.SUCCEEDED, "ok")
    clock.advance(15 * 60)
    await authority.taken(plan, step=1, record=record)


async def test_invariant_1_a_first_claim_that_was_left_behind_is_not_sent_in_a_freeze(
    authority: Authority, clock: ManualClock
) -> None:
    under(authority, FREEZE)
    plan = a_plan()
    request = await authority.request(plan, record=await in_time(authority, plan))
    assert isinstance(await authority.claims.take(request), Taken)
    clock.advance(15 * 60)
    late = await authority.claims.take(await authority.request(plan, record=request.record))
    assert isinstance(late, Taken)
    assert (late.fresh, late.refusal) == (False, "frozen")


async def test_where_the_freeze_asks_a_person_an_approval_is_enough(authority: Authority, clock: ManualClock) -> None:
    under(authority, FREEZE, failure="RequireApproval")
    alone, asked = a_plan("pln_1", "inc_1", [a_change("k1")]), a_plan("pln_2", "inc_2", [a_change("k2")])
    record = await in_time(authority, alone)
    clock.advance(15 * 60)
    assert await refusal(authority, alone, record) == "frozen"
    record = await in_time(authority, asked)
    assert record.decision.verdict is Verdict.REQUIRE_APPROVAL
    await authority.taken(asked, record=record, approval=await authority.approved(asked, record, ANN))
