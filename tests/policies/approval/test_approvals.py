"""Approvals: one plan, once, in time, by people who may (invariant 3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import Authority, a_change, a_person, a_plan, a_record, entries

from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered
from watchkeeper.core.decisions import ApprovalTerms, DecisionRecord, Verdict
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import ConflictError, ForbiddenError, NotFoundError, RefusedError
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.policies.approval.approvals import ApprovalState, draft
from watchkeeper.policies.claiming.claims import Taken

APPROVED, REJECTED = ApprovalAnswer.APPROVED, ApprovalAnswer.REJECTED
ANN = a_person("ann", Role.APPROVER)
BEN = a_person("ben", Role.APPROVER)
TWO = (ApprovalTerms(node="limit/two", roles=("approver",), quorum=2, ttl_s=300),)


def needing(plan: Plan, *terms: ApprovalTerms) -> DecisionRecord:
    return a_record(plan, Verdict.REQUIRE_APPROVAL, terms)


async def two_steps(authority: Authority) -> tuple[Plan, dict[str, Any]]:
    """A plan that two people approved, and what its claims ask with."""
    plan = a_plan(changes=(a_change("k1"), a_change("k2")))
    record = needing(plan, *TWO)
    return plan, {"record": record, "approval": await authority.approved(plan, record, ANN, BEN)}


async def taken_over(authority: Authority, plan: Plan, asked: dict[str, Any]) -> Taken:
    taken = await authority.claims.take(await authority.request(plan, **asked))
    assert isinstance(taken, Taken)
    return taken


async def refusal(authority: Authority, plan: Plan, approval: str | None) -> str:
    request = await authority.request(plan, record=needing(plan), approval=approval)
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(request)
    return caught.value.reason


async def test_invariant_3_an_approval_lets_its_plan_through_once(authority: Authority, clock: ManualClock) -> None:
    plan = a_plan(changes=(a_change("k1"), a_change("k2")))
    record = needing(plan)
    approval = await authority.approved(plan, record, ANN)
    assert await authority.approvals.usable(plan.plan_hash, clock.now()) == approval
    claim = await authority.taken(plan, record=record, approval=approval)
    assert claim.approval == approval
    await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    assert await authority.approvals.usable(plan.plan_hash, clock.now()) is None
    clock.advance(100_000)
    await authority.taken(plan, record=record, approval=approval, step=1)
    await authority.taken(plan, record=record, approval=approval, phase=EffectPhase.UNDO)


async def test_invariant_3_a_claim_left_behind_is_taken_over_in_time_or_only_to_look(
    authority: Authority, clock: ManualClock
) -> None:
    """Its holder may have sent nothing: consent that ran out since does not let another send it for the first time."""
    plan, of_it = await two_steps(authority)
    await authority.taken(plan, **of_it)
    clock.advance(60)
    assert (await taken_over(authority, plan, of_it)).refusal == ""
    clock.advance(600)
    late = await taken_over(authority, plan, of_it)
    assert (late.fresh, late.refusal) == (False, "approval_expired")
    assert not await authority.claims.still_valid(late.claim)


async def test_invariant_3_consent_to_a_plan_that_has_begun_covers_a_takeover_of_its_next_step(
    authority: Authority, clock: ManualClock
) -> None:
    plan, of_it = await two_steps(authority)
    await authority.claims.settle(await authority.taken(plan, **of_it), Effect.SUCCEEDED, "http_200")
    await authority.taken(plan, **of_it, step=1)
    clock.advance(600)
    assert (await taken_over(authority, plan, of_it | {"step": 1})).refusal == ""


async def test_invariant_3_another_or_edited_plan_is_approved_anew(authority: Authority) -> None:
    plan = a_plan()
    approval = await authority.approved(plan, needing(plan), ANN)
    assert await refusal(authority, a_plan("pln_2", "inc_2"), approval) == "approval_other_plan"
    assert await refusal(authority, plan.model_copy(update={"remedy_ttl_s": 7200}), approval) == "approval_other_plan"
    assert await refusal(authority, plan, "apr_forged") == "approval_missing"


async def test_invariant_3_pending_rejected_and_expired_do_not_count(authority: Authority, clock: ManualClock) -> None:
    plan = a_plan()
    pending = await authority.approved(plan, needing(plan))
    assert await refusal(authority, plan, pending) == "approval_not_given"
    assert await authority.approvals.answer(pending, REJECTED, ANN, "api") is ApprovalState.REJECTED
    assert await refusal(authority, plan, pending) == "approval_not_given"
    given = await authority.approved(plan, needing(plan), ANN)
    clock.advance(600)
    assert await authority.approvals.usable(plan.plan_hash, clock.now()) is None
    assert await refusal(authority, plan, given) == "approval_expired"


async def test_invariant_3_a_refused_claim_does_not_use_the_approval_up(
    authority: Authority, clock: ManualClock
) -> None:
    plan = a_plan()
    approval = await authority.approved(plan, needing(plan), ANN)
    request = await authority.request(plan, record=needing(plan), approval=approval, breach=None)
    with pytest.raises(RefusedError):
        await authority.claims.take(request)
    assert await authority.approvals.usable(plan.plan_hash, clock.now()) == approval


@pytest.mark.parametrize("kind", [PrincipalKind.SERVICE, PrincipalKind.DAEMON])
async def test_invariant_3_only_people_approve(authority: Authority, kind: PrincipalKind) -> None:
    plan = a_plan()
    approval = await authority.approved(plan, needing(plan))
    with pytest.raises(ForbiddenError, match="not a person"):
        await authority.approvals.answer(approval, APPROVED, a_person("model", Role.ADMIN, kind=kind), "api")
    assert await refusal(authority, plan, approval) == "approval_not_given"


async def test_invariant_3_the_wrong_role_counts_for_nothing(authority: Authority) -> None:
    plan = a_plan()
    terms = ApprovalTerms(node="limit/ops", roles=("operator",), ttl_s=300)
    approval = await authority.approved(plan, needing(plan, terms))
    for answer in (APPROVED, REJECTED):
        with pytest.raises(ForbiddenError, match="may not answer"):
            await authority.approvals.answer(approval, answer, ANN, "api")
    assert await entries(authority.store, EntryType.APPROVAL_ANSWERED) == []
    assert await authority.approvals.answer(approval, APPROVED, a_person("root", Role.ADMIN), "api") == "approved"


async def test_invariant_3_a_quorum_is_of_distinct_people(authority: Authority) -> None:
    plan = a_plan()
    approval = await authority.approved(plan, needing(plan, *TWO))
    assert await authority.approvals.answer(approval, APPROVED, ANN, "api") is ApprovalState.PENDING
    with pytest.raises(ConflictError, match="already answered"):
        await authority.approvals.answer(approval, APPROVED, ANN, "terminal")
    assert await refusal(authority, plan, approval) == "approval_not_given"
    assert await authority.approvals.answer(approval, APPROVED, BEN, "api") is ApprovalState.APPROVED
    given = (await authority.approvals.get(approval)).answers
    assert [answer.by for answer in given] == [ANN, BEN]


async def test_invariant_3_racing_answers_of_one_person_count_once(authority: Authority) -> None:
    plan = a_plan()
    approval = await authority.approved(plan, needing(plan, *TWO))
    racing = (authority.approvals.answer(approval, APPROVED, ANN, "api") for _ in range(5))
    results = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(result is ApprovalState.PENDING for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 4
    assert (await authority.approvals.get(approval)).state is ApprovalState.PENDING


async def test_every_term_is_satisfied_by_its_own_roles(authority: Authority) -> None:
    plan = a_plan()
    owners = ApprovalTerms(node="limit/owners", roles=("operator",), ttl_s=300)
    approval = await authority.approved(plan, needing(plan, TWO[0].model_copy(update={"quorum": 1}), owners), ANN)
    assert (await authority.approvals.get(approval)).state is ApprovalState.PENDING
    olga = a_person("olga", Role.OPERATOR)
    assert await authority.approvals.answer(approval, APPROVED, olga, "api") is ApprovalState.APPROVED


async def test_one_rejection_rejects_and_ends_it(authority: Authority) -> None:
    plan = a_plan()
    approval = await authority.approved(plan, needing(plan, *TWO), ANN)
    assert await authority.approvals.answer(approval, REJECTED, BEN, "api") is ApprovalState.REJECTED
    with pytest.raises(ConflictError, match="already rejected"):
        await authority.approvals.answer(approval, APPROVED, a_person("cat", Role.APPROVER), "api")


async def test_time_answers_what_nobody_did(authority: Authority, clock: ManualClock) -> None:
    plan, other = a_plan(), a_plan("pln_2", "inc_2")
    late = await authority.approved(plan, needing(plan, *TWO))
    await authority.approved(other, needing(other))
    assert len(await authority.approvals.pending()) == 2
    clock.advance(300)
    with pytest.raises(ConflictError, match="already expired"):
        await authority.approvals.answer(late, APPROVED, ANN, "api")
    assert await authority.approvals.expire_due() == ()
    clock.advance(300)
    assert await authority.approvals.pending() == ()  # though nobody has noticed yet
    assert await authority.approvals.expire_due() == ("inc_2",)
    assert await authority.approvals.pending() == ()
    recorded = await entries(authority.store, EntryType.APPROVAL_ANSWERED)
    assert [entry.answer for entry in recorded if isinstance(entry, ApprovalAnswered)] == ["expired", "expired"]
    with pytest.raises(ForbiddenError):
        await authority.approvals.answer(late, ApprovalAnswer.EXPIRED, ANN, "api")


async def test_the_ledger_names_who_answered_and_how(authority: Authority) -> None:
    plan = a_plan()
    record = needing(plan)
    approval = await authority.approved(plan, record, ANN)
    asked, answered = await entries(authority.store)
    assert asked == draft(plan, record, authority.clock.now(), 600).model_copy(update={"approval": approval})
    assert isinstance(answered, ApprovalAnswered)
    assert (answered.by, answered.via, answered.plan_hash) == (ANN, "api", plan.plan_hash)
    assert [given.request.approval for given in await authority.approvals.of_incident(plan.incident)] == [approval]
    with pytest.raises(NotFoundError):
        await authority.approvals.get(ApprovalId("apr_none"))


async def test_an_answer_and_what_goes_with_it_are_one_commit(authority: Authority) -> None:
    plan = a_plan()
    asked = await authority.approved(plan, needing(plan))

    async def fails(tx: AsyncConnection) -> None:
        raise RuntimeError("killed here")

    with pytest.raises(RuntimeError, match="killed"):
        await authority.approvals.answer(asked, APPROVED, ANN, "api", first=fails)
    assert (await authority.approvals.get(asked)).answers == ()


async def test_invariant_3_what_an_incident_that_is_over_asked_never_applies(authority: Authority) -> None:
    waiting, given, used = a_plan(), a_plan("pln_2", "inc_1"), a_plan("pln_3", "inc_1", [a_change("k3")])
    asked = [
        await authority.approved(plan, needing(plan, *TWO), *by) for plan, by in ((waiting, ()), (given, (ANN, BEN)))
    ]
    kept = await authority.approved(used, needing(used, *TWO), ANN, BEN)
    await authority.taken(used, record=needing(used, *TWO), approval=kept)
    async with authority.store.write() as tx:
        await authority.approvals.withdraw(tx, waiting.incident)
    assert [(await authority.approvals.get(each)).state for each in (*asked, kept)] == [
        *(ApprovalState.SUPERSEDED, ApprovalState.SUPERSEDED),
        ApprovalState.APPROVED,
    ]
    assert await refusal(authority, given, asked[1]) == "approval_not_given"
    assert await authority.approvals.pending() == ()
