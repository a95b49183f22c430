"""A plan that waits, through the whole graph in simulated time: edited, stale, asked about again, and stopped."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.testbed.authority import a_person, an_operator, entries
from tests.testbed.grants import grant, policy
from tests.testbed.simulated import WHO, Simulation, open_simulation

from watchkeeper.agents.editing import Editing
from watchkeeper.core.consents import ApprovalAnswer, ApprovalRequested, PlanEdit, PlanEdited
from watchkeeper.core.entries import EntryType, Escalated
from watchkeeper.core.errors import ConflictError, ForbiddenError, InputError
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.policies.approval.approvals import Approval, ApprovalState
from watchkeeper.policies.load import PolicySet, parse

pytestmark = pytest.mark.timeout(300)
ANN, BEN = a_person("ann", Role.APPROVER), a_person("ben", Role.APPROVER)


def asking(not_author: bool = False, ttl: str = "1h") -> PolicySet:
    """A throttle after an approver's yes."""
    document = grant("throttle-runaway-caller", ["throttle"], ["key"], environment="sim", service="*", ttl=ttl)
    document["spec"]["autonomy"] = "propose"
    document["spec"]["approvals"] = [{"roles": ["approver"], "ttl": "10m", "notAuthor": not_author}]
    return PolicySet(tuple(each for each, _ in parse(policy(document), "test.yaml")))


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    """A caller that loops, and a plan to throttle it that waits for an approver who did not edit it."""
    async with open_simulation(tmp_path, seed=3) as made:
        await made.parts.versions.activate(asking(not_author=True), WHO, "ask")
        await made.go(60)
        made.traffic.caller("research").looping = True
        await made.go(30)
        yield made


def editing(sim: Simulation) -> Editing:
    parts, crew = sim.parts, sim.parts.crew
    return Editing(parts.store, parts.clock, crew.incidents, crew.approvals, crew.edits, crew.planner, parts.evidence)


async def waiting(sim: Simulation) -> Approval:
    (found,) = await sim.parts.crew.approvals.pending()
    return found


async def the_plan(sim: Simulation, approval: Approval) -> Plan:
    found = await sim.parts.crew.incidents.plan(approval.request.incident, approval.request.plan)
    assert found is not None
    return found


async def say(sim: Simulation, approval: ApprovalId, who: object = ANN) -> ApprovalState:
    state = await sim.parts.crew.approvals.answer(approval, ApprovalAnswer.APPROVED, who, "api")  # type: ignore[arg-type]
    request = (await sim.parts.crew.approvals.get(approval)).request
    async with sim.parts.crew.store.write() as tx:
        await sim.parts.crew.incidents.wake(tx, request.incident)
    return state


def limit_of(sim: Simulation) -> int | None:
    return sim.lab.gateway.store.keys[sim.traffic.caller("research").key].rpm_limit


async def told(sim: Simulation) -> list[str]:
    found = await entries(sim.parts.store, EntryType.ESCALATION)
    return [each.reason for each in found if isinstance(each, Escalated)]


async def test_invariant_3_an_edited_plan_is_another_plan_and_is_asked_about_anew(sim: Simulation) -> None:
    first = await waiting(sim)
    before = await the_plan(sim, first)
    proposed = dict(before.actions[0].parameters)["rpm_limit"]
    assert isinstance(proposed, int)
    wanted = (PlanEdit(step=0, name="rpm_limit", value=proposed + 7),)
    made = await editing(sim).edit(first.request.approval, wanted, ANN, "a batch runs", before.plan_hash)
    assert (made.authors, made.edited_from) == (("ann",), before.id)
    assert made.plan_hash != before.plan_hash
    await sim.go(4)
    second = await waiting(sim)
    assert second.request.plan_hash == made.plan_hash
    assert (second.request.authors, second.request.decision) != (first.request.authors, first.request.decision)
    with pytest.raises(ConflictError, match="already superseded"):
        await say(sim, first.request.approval, BEN)
    with pytest.raises(ForbiddenError, match="may not approve"):
        await say(sim, second.request.approval, ANN)
    assert not sim.effects()
    assert await say(sim, second.request.approval, BEN) is ApprovalState.APPROVED
    await sim.go(4)
    assert limit_of(sim) == proposed + 7
    (edited,) = await entries(sim.parts.store, EntryType.PLAN_EDITED)
    assert isinstance(edited, PlanEdited)
    assert (edited.by, edited.edits, edited.becomes_hash) == (ANN, wanted, made.plan_hash)
    assert edited.comment is not None
    assert await sim.ledger_holds()


async def test_an_edit_keeps_to_what_the_runbook_offers(sim: Simulation) -> None:
    first = await waiting(sim)
    asked, proposed = first.request.approval, dict((await the_plan(sim, first)).actions[0].parameters)["rpm_limit"]
    desk = editing(sim)
    for step, name, value, why in (
        (0, "rpm_limit", 0, "cannot be set to 0"),
        (0, "rpm_limit", -1, "cannot be set to -1"),
        (0, "rpm_limit", 7.5, "cannot be set to 7.5"),
        (0, "rpm_limit", "ten", "cannot be set to 'ten'"),
        (0, "rpm_limit", True, "cannot be set to 'True'"),
        (0, "rpm_limit", float("nan"), "cannot be set"),
        (0, "blocked", True, "has no parameter 'blocked'"),
        (0, "max_parallel_requests", 1, "has no parameter"),
        (9, "rpm_limit", 7, "has no step 9"),
        (0, "rpm_limit", proposed, "changes nothing"),
    ):
        edit = PlanEdit.model_construct(step=step, name=name, value=value)
        with pytest.raises(InputError) as caught:
            await desk.edit(asked, (edit,), ANN)
        assert why in caught.value.what
    for who in (a_person("eve", Role.VIEWER), a_person("bot", Role.ADMIN, kind=PrincipalKind.SERVICE)):
        with pytest.raises(ForbiddenError):
            await desk.edit(asked, (PlanEdit(step=0, name="rpm_limit", value=9),), who)
    with pytest.raises(ConflictError, match="cannot be edited"):
        await desk.edit(asked, (PlanEdit(step=0, name="rpm_limit", value=9),), ANN, plan_hash="sha256:other")
    assert (await waiting(sim)).request == first.request, "nothing of it was kept"
    assert await entries(sim.parts.store, EntryType.PLAN_EDITED) == []


async def test_a_plan_that_policy_overtook_is_made_anew_and_asked_about_again(sim: Simulation) -> None:
    first = await waiting(sim)
    await sim.parts.versions.activate(asking(ttl="30m"), WHO, "another version")
    await say(sim, first.request.approval)
    await sim.go(6)
    second = await waiting(sim)
    assert second.request.supersedes == (first.request.approval,)
    assert second.request.plan_hash != first.request.plan_hash
    assert (await sim.parts.crew.approvals.get(first.request.approval)).state is ApprovalState.SUPERSEDED
    assert not sim.effects()
    await say(sim, second.request.approval)
    await sim.go(4)
    assert len(sim.effects()) >= 1
    assert await told(sim) == []


async def test_a_plan_whose_epoch_moved_while_it_waited_is_asked_about_again(sim: Simulation) -> None:
    first = await waiting(sim)
    await sim.parts.crew.epochs.stop("all", an_operator())
    await sim.parts.crew.epochs.resume("all", an_operator())
    await say(sim, first.request.approval)
    await sim.go(6)
    assert (await waiting(sim)).request.supersedes == (first.request.approval,)
    assert not sim.effects()


async def test_an_approval_that_ends_between_the_answer_and_the_claim_is_asked_for_again(sim: Simulation) -> None:
    first = await waiting(sim)
    await sim.parts.crew.approvals.answer(first.request.approval, ApprovalAnswer.APPROVED, ANN, "api")
    await sim.go(int((first.request.expires - sim.clock.now()).total_seconds()) + 4)
    asked = list(await entries(sim.parts.store, EntryType.APPROVAL_REQUESTED))
    assert len(asked) == 2
    assert isinstance(asked[1], ApprovalRequested)
    assert asked[1].supersedes == (first.request.approval,)
    assert not sim.effects()


async def test_invariant_3_a_yes_to_what_is_gone_by_itself_never_applies_once_the_incident_is_closed(
    sim: Simulation,
) -> None:
    first = await waiting(sim)
    sim.traffic.caller("research").looping = False
    await sim.go(90)
    await say(sim, first.request.approval)
    await sim.go(20)
    (incident,) = await sim.incidents()
    assert (incident.status, incident.resolution) == ("closed", "moot")
    assert (await sim.parts.crew.approvals.get(first.request.approval)).state is ApprovalState.SUPERSEDED
    assert not sim.effects()


async def test_plans_that_go_stale_too_often_go_to_a_person_and_edits_do_not_count_against_them(
    sim: Simulation,
) -> None:
    most = sim.parts.settings.timing.max_attempts
    for n in range(most):
        waits = await waiting(sim)
        if n == 1:
            edit = PlanEdit(step=0, name="rpm_limit", value=999)
            await editing(sim).edit(waits.request.approval, (edit,), ANN)
            await sim.go(4)
            waits = await waiting(sim)
            assert waits.request.authors == ("ann",)
        await sim.parts.crew.epochs.stop("all", an_operator())
        await sim.parts.crew.epochs.resume("all", an_operator())
        await say(sim, waits.request.approval, BEN)
        await sim.go(6)
    assert await told(sim) == ["refused_epoch_moved"]
    assert not sim.effects()


async def test_edits_of_one_incident_are_bounded(sim: Simulation) -> None:
    desk = editing(sim)
    for n in range(10):
        waits = await waiting(sim)
        await desk.edit(waits.request.approval, (PlanEdit(step=0, name="rpm_limit", value=900 + n),), ANN)
        await sim.go(4)
    waits = await waiting(sim)
    with pytest.raises(ConflictError, match="edited 10 times"):
        await desk.edit(waits.request.approval, (PlanEdit(step=0, name="rpm_limit", value=1),), ANN)
    assert (await waiting(sim)).request == waits.request, "a refused edit ends nothing"
