"""Who owns the database beside us, or holds somebody's answer, tries to get a plan through that nobody approved."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, update
from tests.testbed.authority import Authority, a_change, a_person, a_plan, a_record
from tests.testbed.stores import tampering

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered
from watchkeeper.core.decisions import ApprovalTerms, DecisionRecord, Verdict
from watchkeeper.core.errors import ConflictError, LedgerError, RefusedError
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import Role
from watchkeeper.policies.approval.approvals import ApprovalState, draft
from watchkeeper.policies.claiming.claims import Taken
from watchkeeper.policies.tables import approval, approval_answer

ANN, BEN = a_person("ann", Role.APPROVER), a_person("ben", Role.APPROVER)
PLAN = a_plan()
TWO = ApprovalTerms(node="limit/two", roles=("approver",), quorum=2, ttl_s=600)


def needing(plan: Plan) -> DecisionRecord:
    return a_record(plan, Verdict.REQUIRE_APPROVAL, (TWO,))


async def refusal(authority: Authority, plan: Plan, asked: str, **changes: Any) -> str:
    request = await authority.request(plan, record=needing(plan), approval=ApprovalId(asked), **changes)
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(request)
    return caught.value.reason


async def forged(authority: Authority, asked: ApprovalId, **values: Any) -> None:
    async with tampering(authority.store) as tx:
        await tx.execute(update(approval).where(approval.c.id == asked).values(**values))


def an_answer(asked: ApprovalId, by: str) -> ApprovalAnswered:
    return ApprovalAnswered(
        approval=asked,
        incident=PLAN.incident,
        plan_hash=PLAN.plan_hash,
        answer=ApprovalAnswer.APPROVED,
        by=a_person(by, Role.APPROVER),
    )


async def test_adversary_an_expired_approval_is_refused_also_with_a_longer_life_in_its_row(
    authority: Authority, clock: ManualClock
) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN, BEN)
    clock.advance(600)
    assert await refusal(authority, PLAN, asked) == "approval_expired"
    await forged(authority, asked, expires=clock.now().replace(year=clock.now().year + 1))
    assert await refusal(authority, PLAN, asked) == "approval_expired"


async def test_adversary_a_reused_approval_lets_no_second_plan_through(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN, BEN)
    claim = await authority.taken(PLAN, record=needing(PLAN), approval=asked)
    await authority.claims.settle(claim, Effect.SUCCEEDED, "http_200")
    twin = a_plan("pln_twin")
    assert await refusal(authority, twin, asked) == "approval_other_plan"
    await forged(authority, asked, plan_hash=twin.plan_hash)
    assert await refusal(authority, twin, asked) == "approval_unrecorded"
    await forged(authority, asked, used_by=twin.id)
    assert await refusal(authority, twin, asked, phase=EffectPhase.UNDO) == "approval_unrecorded"


async def test_adversary_a_state_that_was_written_into_the_row_is_no_approval(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN)
    await forged(authority, asked, state=ApprovalState.APPROVED)
    assert await refusal(authority, PLAN, asked) == "approval_unrecorded"
    await forged(authority, asked, used_by=PLAN.id)
    assert await refusal(authority, PLAN, asked) == "approval_unrecorded"


async def test_adversary_an_answer_that_was_inserted_beside_the_ledger_counts_for_nothing(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN)
    async with tampering(authority.store) as tx:
        body = canonical_model(an_answer(asked, "ben"))
        row = {"approval": asked, "person": "ben", "at": authority.clock.now(), "body": body}
        await tx.execute(insert(approval_answer).values(**row))
        await tx.execute(update(approval).where(approval.c.id == asked).values(state=ApprovalState.APPROVED))
    assert await refusal(authority, PLAN, asked) == "approval_unrecorded"


async def test_adversary_an_approval_that_was_never_asked_for_counts_for_nothing(authority: Authority) -> None:
    made = draft(PLAN, needing(PLAN), authority.clock.now(), 600).model_copy(update={"terms": ()})
    async with tampering(authority.store) as tx:
        values = {"id": made.approval, "incident": made.incident, "plan_hash": made.plan_hash, "expires": made.expires}
        await tx.execute(insert(approval).values(**values, state=ApprovalState.APPROVED, body=canonical_model(made)))
    assert await refusal(authority, PLAN, made.approval) == "approval_unrecorded"


async def test_adversary_terms_that_were_softened_in_the_row_do_not_count(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN))
    request = (await authority.approvals.get(asked)).request
    softer = request.model_copy(update={"terms": (TWO.model_copy(update={"quorum": 1}),)})
    await forged(authority, asked, body=canonical_model(softer))
    assert await authority.approvals.answer(asked, ApprovalAnswer.APPROVED, ANN, "api") is ApprovalState.APPROVED
    assert await refusal(authority, PLAN, asked) == "approval_unrecorded"


async def test_adversary_a_plan_that_was_changed_after_its_approval_is_another_plan(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN, BEN)
    for change in ({"remedy_ttl_s": 99_999.0}, {"authors": ("ann",)}, {"release": None}):
        assert await refusal(authority, PLAN.model_copy(update=change), asked) == "approval_other_plan"


async def test_adversary_a_superseded_approval_never_applies_whatever_its_row_says(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN, BEN)
    async with authority.store.write() as tx:
        assert await authority.approvals.supersede(tx, asked, None)
        assert not await authority.approvals.supersede(tx, asked, None)
    assert await refusal(authority, PLAN, asked) == "approval_not_given"
    with pytest.raises(ConflictError, match="already superseded"):
        await authority.approvals.answer(asked, ApprovalAnswer.APPROVED, a_person("cat", Role.APPROVER), "api")
    await forged(authority, asked, state=ApprovalState.APPROVED)
    assert await refusal(authority, PLAN, asked) == "approval_unrecorded"


async def test_adversary_a_plan_hash_that_was_swapped_in_the_answer_is_refused(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN))
    with pytest.raises(ConflictError, match="another plan"):
        await authority.approvals.answer(
            asked, ApprovalAnswer.APPROVED, ANN, "api", plan_hash=a_plan("pln_evil").plan_hash
        )
    given = await authority.approvals.answer(asked, ApprovalAnswer.APPROVED, ANN, "api", plan_hash=PLAN.plan_hash)
    assert given is ApprovalState.PENDING


async def test_adversary_the_guards_refuse_what_no_code_of_ours_asks_for(authority: Authority) -> None:
    asked = await authority.approved(PLAN, needing(PLAN), ANN, BEN)
    await authority.taken(PLAN, record=needing(PLAN), approval=asked)
    one = update(approval).where(approval.c.id == asked)
    for statement in (
        one.values(plan_hash="sha256:other"),
        one.values(body=b"{}"),
        one.values(used_by=None),
        one.values(used_by="pln_other"),
        approval.delete(),
        update(approval_answer).values(person="eve"),
        approval_answer.delete(),
    ):
        with pytest.raises(LedgerError, match="refuses to change the record"):
            async with authority.store.write() as tx:
                await tx.execute(statement)


async def test_invariant_3_of_a_claim_and_an_edit_that_race_for_one_approval_one_wins(authority: Authority) -> None:
    """Whoever comes second finds it used, or superseded."""
    for n in range(12):
        plan = a_plan(f"pln_r{n}", f"inc_r{n}", [a_change(f"k{n}")])
        asked = await authority.approved(plan, needing(plan), ANN, BEN)
        request = await authority.request(plan, record=needing(plan), approval=asked)

        async def edited(asked: ApprovalId = asked) -> bool:
            async with authority.store.write() as tx:
                return await authority.approvals.supersede(tx, asked, ANN)

        both = (edited(), authority.claims.take(request)) if n % 2 else (authority.claims.take(request), edited())
        results = await asyncio.gather(*both, return_exceptions=True)
        superseded = any(result is True for result in results)
        claimed = any(isinstance(result, Taken) for result in results)
        assert superseded != claimed, results
