"""Who is told of what waits: together, seldom, never of what is gone; and more people when nobody answers."""

from __future__ import annotations

import pytest
from sqlalchemy import select
from tests.testbed.authority import a_change, a_person, a_plan, a_record, entries
from tests.testbed.entries import one_of_each
from tests.testbed.ledgers import Log
from tests.testbed.notices import Silent
from tests.testbed.stores import store_of

from watchkeeper.agents.incidents import Incidents
from watchkeeper.agents.outbox import Notice, Outbox
from watchkeeper.agents.summons import Summons
from watchkeeper.agents.tables import notification
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.consents import ApprovalAnswer, ApprovalEscalated
from watchkeeper.core.decisions import ApprovalTerms, EscalationStep, Verdict
from watchkeeper.core.entries import EntryType, FindingRecorded
from watchkeeper.core.errors import ForbiddenError
from watchkeeper.core.ids import ApprovalId, IncidentId
from watchkeeper.core.principals import Role
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.approval.approvals import Approvals, ApprovalState, draft
from watchkeeper.store.engine import Store

BATCH_S = 150.0
PLAIN = ApprovalTerms(node="limit/l", roles=("approver",), ttl_s=1800)
CHAIN = PLAIN.model_copy(
    update={
        "escalation": (
            EscalationStep(after_s=600, roles=("operator",)),
            EscalationStep(after_s=900, notify=("pager",)),
        )
    }
)


class Desk:
    """The rooms behind a desk on one store; made anew on the same store, it is the daemon after a restart."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        log = Log(store, clock)
        self.store, self.clock = store, clock
        self.incidents = Incidents(store, log.ledger, Evidence(store, clock=clock), clock)
        self.approvals = Approvals(store, log.ledger, clock)
        self.outbox = Outbox(store, clock, (Silent("chat"), Silent("pager")))
        self.summons = Summons(store, self.incidents, self.approvals, self.outbox, clock, BATCH_S)

    async def ask(self, n: int, terms: ApprovalTerms = PLAIN, supersedes: tuple[ApprovalId, ...] = ()) -> ApprovalId:
        plan = a_plan(f"pln_{n}", await self.incident(), [a_change(f"k{n}")])
        record = a_record(plan, Verdict.REQUIRE_APPROVAL, (terms,))
        async with self.store.write() as tx:
            return await self.approvals.request(tx, draft(plan, record, self.clock.now(), 1800, supersedes))

    async def incident(self) -> IncidentId:
        recorded = one_of_each()[EntryType.FINDING].data
        assert isinstance(recorded, FindingRecorded)
        finding = recorded.finding.model_copy(
            update={"evidence": (), "id": f"fnd_{len(await self.incidents.list(limit=1000))}"}
        )
        return await self.incidents.open(finding, b"{}")

    async def told(self, sink: str = "chat") -> list[Notice]:
        query = select(notification.c.body).where(notification.c.sink == sink).order_by(notification.c.id)
        async with self.store.read() as tx:
            return [Notice.model_validate_json(body) for body in (await tx.execute(query)).scalars()]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def desk(store: Store, clock: ManualClock) -> Desk:
    return Desk(store, clock)


async def test_nobody_is_asked_five_times_in_ten_minutes(desk: Desk, clock: ManualClock) -> None:
    asked = []
    for n in range(60):  # a new plan every ten seconds
        asked.append(await desk.ask(n))
        await desk.summons.run_once()
        clock.advance(10)
    notices = await desk.told()
    assert len(notices) == 4
    assert [len(each.approvals) for each in notices] == [1, 15, 15, 15]
    assert [line.approval for each in notices for line in each.approvals] == asked[:46]
    assert notices[1].commands[0] == f"watchkeeper approve {' '.join(asked[1:16])}"


async def test_other_people_are_told_apart_and_at_once(desk: Desk) -> None:
    await desk.ask(1)
    await desk.ask(2, PLAIN.model_copy(update={"roles": ("operator",)}))
    await desk.summons.run_once()
    assert {each.approvals[0].roles for each in await desk.told()} == {("approver",), ("operator",)}


async def test_nothing_waits_untold_for_longer_than_a_quarter_of_its_time(desk: Desk, clock: ManualClock) -> None:
    await desk.ask(1)
    await desk.summons.run_once()
    short = await desk.ask(2, PLAIN.model_copy(update={"ttl_s": 120}))
    clock.advance(29)
    await desk.summons.run_once()
    assert len(await desk.told()) == 1
    clock.advance(1)
    await desk.summons.run_once()
    assert (await desk.told())[-1].approvals[0].approval == short


async def test_what_was_superseded_or_answered_before_its_turn_is_not_told(desk: Desk, clock: ManualClock) -> None:
    await desk.ask(1)
    await desk.summons.run_once()
    first, answered = await desk.ask(2), await desk.ask(3)
    again = await desk.ask(4, supersedes=(first,))
    await desk.approvals.answer(answered, ApprovalAnswer.APPROVED, a_person("ann", Role.APPROVER), "api")
    clock.advance(BATCH_S)
    await desk.summons.run_once()
    (line,) = (await desk.told())[-1].approvals
    assert (line.approval, line.supersedes) == (again, (first,))
    assert (await desk.approvals.get(first)).state is ApprovalState.SUPERSEDED


async def test_a_restart_tells_nothing_twice_and_forgets_nothing(desk: Desk, clock: ManualClock) -> None:
    await desk.ask(1, CHAIN)
    await desk.summons.run_once()
    waits = await desk.ask(2)
    clock.advance(600)
    url = desk.store.url.render_as_string(hide_password=False)
    async with store_of(url) as store:
        again = Desk(store, clock)
        for _ in range(3):
            await again.summons.run_once()
        notices = await again.told()
    assert [each.reason for each in notices] == ["approval_required", "approval_required", "approval_escalated"]
    assert notices[1].approvals[0].approval == waits


async def test_when_nobody_answers_more_people_may_and_are_told_once(desk: Desk, clock: ManualClock) -> None:
    asked, olga = await desk.ask(1, CHAIN), a_person("olga", Role.OPERATOR)
    clock.advance(599)
    await desk.summons.run_once()
    with pytest.raises(ForbiddenError, match="may not answer"):
        await desk.approvals.answer(asked, ApprovalAnswer.APPROVED, olga, "api")
    clock.advance(1)
    for _ in range(3):
        await desk.summons.run_once()
    assert [each.reason for each in await desk.told("pager")] == ["approval_required", "approval_escalated"]
    assert (await desk.told())[-1].approvals[0].roles == ("approver", "operator")
    clock.advance(300)
    for _ in range(3):
        await desk.summons.run_once()
    assert len(await desk.told("chat")) == 2, "the last step names the pager alone"
    assert len(await desk.told("pager")) == 3
    assert await desk.approvals.answer(asked, ApprovalAnswer.APPROVED, olga, "api") is ApprovalState.APPROVED
    steps = await entries(desk.store, EntryType.APPROVAL_ESCALATED)
    assert [(each.step, each.roles, each.notified) for each in steps if isinstance(each, ApprovalEscalated)] == [
        (0, ("operator",), ("chat", "pager")),
        (1, (), ("pager",)),
    ]


async def test_what_is_answered_or_over_does_not_escalate(desk: Desk, clock: ManualClock) -> None:
    answered, over = await desk.ask(1, CHAIN), await desk.ask(2, CHAIN)
    await desk.approvals.answer(answered, ApprovalAnswer.REJECTED, a_person("ann", Role.APPROVER), "api")
    clock.advance(1800)
    await desk.summons.run_once()
    assert await entries(desk.store, EntryType.APPROVAL_ESCALATED) == []
    assert (await desk.approvals.get(over)).reached == ()
