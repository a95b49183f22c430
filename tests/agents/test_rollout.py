"""The rollout of a service: up by a person and on evidence, down by a person or by what went wrong."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, select
from tests.testbed.authority import START, Authority, a_change, a_person, a_plan, a_record, an_operator, entries

from watchkeeper.agents.outbox import Outbox, WebhookConfig, WebhookSink
from watchkeeper.agents.rollout import Rollouts
from watchkeeper.agents.tables import incident, notification
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.consents import ApprovalAnswer
from watchkeeper.core.decisions import ApprovalTerms, Verdict
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import ConflictError, ForbiddenError, InputError, LedgerError, NotFoundError, RefusedError
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.phases import Phase
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.core.rollout import PhaseAsks, RolloutAdvanced, RolloutJudged, RolloutSetBack, WhySetBack
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.claiming.claims import Taken
from watchkeeper.policies.rollout.tables import rollout_word
from watchkeeper.policies.rollout.terms import RolloutTerms
from watchkeeper.store.engine import Store

SCOPE = Scope(environment="prod", service="chat")
OLGA, ANN = an_operator("olga"), a_person("ann", Role.APPROVER)
DAY = timedelta(days=1)


class Scene:
    """A service with rollouts on one store, four weeks after its first incident."""

    def __init__(self, store: Store) -> None:
        self.clock = ManualClock(START)
        self.authority = Authority(store, self.clock)
        self.store = store
        sink = WebhookSink(WebhookConfig(name="pager", url="http://127.0.0.1:9/x"), None)  # type: ignore[arg-type]
        self.outbox = Outbox(store, self.clock, (sink,))
        evidence = Evidence(store, clock=self.clock)
        self.rollouts = Rollouts(
            store, self.authority.ledger, self.clock, evidence, self.outbox, RolloutTerms(), (SCOPE,)
        )
        self.authority.trust.tell(self.rollouts.scored)

    async def closed(self, name: str, *outcomes: TrustOutcome, resolution: str = "recovered") -> None:
        at = self.clock.now()
        async with self.store.write() as tx:
            await tx.execute(
                insert(incident).values(
                    id=name,
                    status="closed",
                    **SCOPE.model_dump(),
                    mode="runaway_loop",
                    severity="critical",
                    subject="key:k1",
                    fingerprint="f",
                    opened=at,
                    updated=at,
                    closed=at,
                    resolution=resolution,
                )
            )
            await self.authority.trust.record(tx, outcomes)

    async def good(self, n: int, origin: Origin = Origin.ALONE) -> None:
        """So many incidents that were treated and recovered."""
        for each in range(n):
            name = f"inc_{self.clock.now():%j%H%M}_{each}"
            await self.closed(name, *both(name, self.clock.now(), origin))

    async def to(self, phase: Phase) -> None:
        """By evidence and a person, as far as that."""
        await self.good(1)
        while (await self.rollouts.of(SCOPE)).phase is not phase:
            self.clock.advance(28 * 86_400)
            await self.good(30)
            await self.rollouts.advance(SCOPE, OLGA, "four good weeks")

    async def phase(self) -> Phase:
        return (await self.rollouts.of(SCOPE)).phase

    async def lacks(self) -> set[PhaseAsks]:
        return {each.name for each in (await self.rollouts.of(SCOPE)).missing}

    async def moves(self) -> list[object]:
        kinds = (EntryType.ROLLOUT_ADVANCED, EntryType.ROLLOUT_SET_BACK)
        return list(await entries(self.store, *kinds))


def outcome(name: str, at: datetime, credit: Credit, grounds: Grounds, **more: object) -> TrustOutcome:
    plan = a_plan()
    made = TrustOutcome(
        agent=plan.remediator,
        manifest_digest=plan.manifest_digest,
        runbook=plan.runbook.name,
        intent=plan.actions[0].intent,
        scope=SCOPE,
        incident=IncidentId(name),
        plan=PlanId(f"pln_{name}"),
        step=0,
        origin=Origin.ALONE,
        credit=credit,
        grounds=grounds,
        at=at,
    )
    return made.model_copy(update=more)


def both(name: str, at: datetime, origin: Origin = Origin.ALONE) -> tuple[TrustOutcome, ...]:
    """What a plan that helped says of its remediator and of its diagnoser."""
    done = outcome(name, at, Credit.SUCCESS, Grounds.RECOVERED, origin=origin)
    return done, done.model_copy(update={"agent": "diagnoser/gateway"})


@pytest.fixture
def scene(store: Store) -> Scene:
    return Scene(store)


async def test_a_service_that_nobody_moved_is_in_triage_and_says_what_it_lacks(scene: Scene) -> None:
    (only,) = await scene.rollouts.all()
    assert (only.scope, only.phase, only.since, only.by, only.next) == (SCOPE, Phase.TRIAGE, None, None, Phase.PILOT)
    assert await scene.lacks() == {PhaseAsks.DAYS_IN_PHASE, PhaseAsks.JUDGED, PhaseAsks.ACCURACY}
    with pytest.raises(ConflictError, match=r"days_in_phase unknown \(asked: 28\).*accuracy unknown"):
        await scene.rollouts.advance(SCOPE, OLGA, "I like it")
    assert await scene.moves() == []
    with pytest.raises(NotFoundError):
        await scene.rollouts.of(Scope(environment="prod", service="chatt"))


async def test_a_person_moves_it_up_on_evidence_one_phase_in_one_commit_with_its_entry(scene: Scene) -> None:
    await scene.to(Phase.PILOT)
    (said,) = await scene.moves()
    assert isinstance(said, RolloutAdvanced)
    assert (said.previous, said.phase, said.by) == (Phase.TRIAGE, Phase.PILOT, OLGA)
    assert all(each.met for each in said.evidence)
    stands = await scene.rollouts.of(SCOPE)
    assert (stands.phase, stands.by, stands.since, stands.next) == (Phase.PILOT, "olga", said.at, Phase.EXPANDED)
    assert await scene.lacks() == {PhaseAsks.DAYS_IN_PHASE}, "the days begin again"
    with pytest.raises(ConflictError, match="days_in_phase"):
        await scene.rollouts.advance(SCOPE, OLGA, "and on")
    assert await scene.rollouts.history(SCOPE, 10) == [(1, said)]


async def test_ninety_days_to_the_last_phase_and_no_further(scene: Scene) -> None:
    await scene.to(Phase.AGENT_FIRST)
    assert (scene.clock.now() - START) < timedelta(days=90)
    stands = await scene.rollouts.of(SCOPE)
    assert (stands.next, stands.criteria) == (None, ())
    with pytest.raises(ConflictError, match="the last phase"):
        await scene.rollouts.advance(SCOPE, OLGA, "further")


@pytest.mark.parametrize(
    "who",
    [
        a_person("bot", Role.ADMIN, kind=PrincipalKind.SERVICE),
        a_person("watchkeeper", Role.ADMIN, kind=PrincipalKind.DAEMON),
        a_person("vera", Role.VIEWER),
        ANN,
    ],
    ids=["service", "daemon", "viewer", "approver"],
)
async def test_adversary_no_agent_and_nobody_without_the_role_moves_a_service(scene: Scene, who: Principal) -> None:
    await scene.good(30)
    scene.clock.advance(28 * 86_400 - 1)
    for attempt in (scene.rollouts.advance(SCOPE, who, "x"), scene.rollouts.set_back(SCOPE, who, "x")):
        with pytest.raises(ForbiddenError):
            await attempt
    assert await scene.moves() == []


async def test_a_move_needs_a_reason(scene: Scene) -> None:
    await scene.to(Phase.PILOT)
    with pytest.raises(InputError, match="a reason"):
        await scene.rollouts.set_back(SCOPE, OLGA, "  ")
    assert await scene.phase() is Phase.PILOT


async def test_a_person_sets_it_back_at_once_but_not_below_triage(scene: Scene) -> None:
    await scene.to(Phase.PILOT)
    said = await scene.rollouts.set_back(SCOPE, OLGA, "a bad feeling")
    assert (said.why, said.phase, said.epoch.scope) == (WhySetBack.PERSON, Phase.TRIAGE, "service:prod/chat")
    with pytest.raises(ConflictError, match="the first phase"):
        await scene.rollouts.set_back(SCOPE, OLGA, "worse")


@pytest.mark.parametrize(
    ("grounds", "why"),
    [
        (Grounds.UNSAFE, WhySetBack.UNSAFE),
        (Grounds.NOT_RECOVERED, WhySetBack.ROLLED_BACK),
        (Grounds.UNDONE, WhySetBack.ROLLED_BACK),
        (Grounds.RELAPSED_UNDER_REMEDY, WhySetBack.ROLLED_BACK),
    ],
)
async def test_what_was_rolled_back_or_unsafe_sets_it_back_and_people_are_told(
    scene: Scene, grounds: Grounds, why: WhySetBack
) -> None:
    await scene.to(Phase.EXPANDED)
    await scene.closed("inc_bad", outcome("inc_bad", scene.clock.now(), Credit.FAILURE, grounds))
    said = (await scene.moves())[-1]
    assert isinstance(said, RolloutSetBack)
    assert (said.previous, said.phase, said.why, said.incident) == (Phase.EXPANDED, Phase.PILOT, why, "inc_bad")
    assert (said.by.kind, said.reason) == (PrincipalKind.DAEMON, None)
    async with scene.store.read() as tx:
        (body,) = (await tx.execute(select(notification.c.body))).scalars().all()
    told = json.loads(body)
    assert (told["kind"], told["reason"]) == ("rollout_set_back", f"{why}_to_pilot")
    assert told["commands"][0] == "watchkeeper rollout show prod/chat"


async def test_one_plan_costs_one_phase_however_many_steps_and_agents_failed(scene: Scene) -> None:
    await scene.to(Phase.AGENT_FIRST)
    failed = outcome("inc_bad", scene.clock.now(), Credit.FAILURE, Grounds.UNSAFE)
    steps = [failed.model_copy(update={"step": step}) for step in range(3)]
    await scene.closed("inc_bad", *steps, failed.model_copy(update={"agent": "diagnoser/gateway"}))
    assert await scene.phase() is Phase.EXPANDED
    other = failed.model_copy(update={"plan": PlanId("pln_second"), "incident": IncidentId("inc_two")})
    await scene.closed("inc_two", other)
    assert await scene.phase() is Phase.PILOT


@pytest.mark.parametrize(
    ("grounds", "changes"),
    [
        (Grounds.NOT_RECOVERED, {"origin": Origin.SHADOW}),
        (Grounds.EFFECT_FAILED, {}),
        (Grounds.RELAPSED, {}),
        (Grounds.UNSAFE, {"scope": Scope(environment="prod", service="search")}),
    ],
    ids=["shadow", "nothing was done", "given back before", "another service"],
)
async def test_what_is_no_rollback_of_this_service_leaves_it(
    scene: Scene, grounds: Grounds, changes: dict[str, object]
) -> None:
    await scene.to(Phase.PILOT)
    await scene.closed("inc_bad", outcome("inc_bad", scene.clock.now(), Credit.FAILURE, grounds, **changes))
    assert await scene.phase() is Phase.PILOT


async def test_after_a_set_back_the_way_up_takes_four_clean_weeks_again(scene: Scene) -> None:
    await scene.to(Phase.EXPANDED)
    await scene.closed("inc_bad", outcome("inc_bad", scene.clock.now(), Credit.FAILURE, Grounds.UNDONE))
    scene.clock.advance(27 * 86_400)
    await scene.good(30)
    assert await scene.lacks() == {PhaseAsks.DAYS_IN_PHASE, PhaseAsks.ROLLBACKS}
    scene.clock.advance(2 * 86_400)
    assert await scene.lacks() == set()


async def test_the_decision_is_told_the_phase_in_the_read_of_its_other_facts(scene: Scene) -> None:
    plan = a_plan()
    assert (await scene.authority.facts.of(plan, (), scene.clock.now())).phase is Phase.TRIAGE
    await scene.to(Phase.PILOT)
    assert (await scene.authority.facts.of(plan, (), scene.clock.now())).phase is Phase.PILOT


async def test_in_shadow_people_are_the_judges_and_their_last_word_counts(scene: Scene) -> None:
    for n in range(10):
        name = f"inc_{n}"
        seen = outcome(name, scene.clock.now(), Credit.FAILURE, Grounds.NOT_RECOVERED, origin=Origin.SHADOW)
        await scene.closed(name, seen, resolution="shadow_only")
    scene.clock.advance(28 * 86_400 - 1)
    assert PhaseAsks.JUDGED in await scene.lacks()
    for n in range(10):
        await scene.rollouts.judge(IncidentId(f"inc_{n}"), ANN, "the plan was what I did", right=n > 1)
    assert await scene.lacks() == {PhaseAsks.DAYS_IN_PHASE, PhaseAsks.ACCURACY}
    await scene.rollouts.judge(IncidentId("inc_1"), OLGA, "looked again", right=True)
    assert await scene.lacks() == {PhaseAsks.DAYS_IN_PHASE}
    said = await entries(scene.store, EntryType.ROLLOUT_JUDGED)
    assert [each.right for each in said if isinstance(each, RolloutJudged)].count(False) == 2
    with pytest.raises(NotFoundError):
        await scene.rollouts.judge(IncidentId("inc_x"), ANN, "x", right=True)
    with pytest.raises(ForbiddenError):
        await scene.rollouts.judge(IncidentId("inc_1"), a_person("vera", Role.VIEWER), "x", right=True)


async def asked_for(scene: Scene, name: str, answer: ApprovalAnswer) -> None:
    plan = a_plan(f"pln_{name}", name, [a_change(name)])
    record = a_record(plan, Verdict.REQUIRE_APPROVAL, (ApprovalTerms(node="g", roles=("operator",), ttl_s=600),))
    approval = await scene.authority.approved(plan, record)
    await scene.authority.approvals.answer(approval, answer, OLGA, "api")
    await scene.closed(name)


async def test_answers_to_approvals_judge_and_a_page_that_asked_did_not_close_alone(scene: Scene) -> None:
    await scene.to(Phase.PILOT)
    scene.clock.advance(28 * 86_400)
    await scene.good(6)
    for n in range(5):
        await asked_for(scene, f"inc_yes{n}", ApprovalAnswer.APPROVED)
    for n in range(2):
        await asked_for(scene, f"inc_no{n}", ApprovalAnswer.REJECTED)
    found = {each.name: each.observed for each in (await scene.rollouts.of(SCOPE)).criteria}
    assert (found[PhaseAsks.JUDGED], found[PhaseAsks.ROUTINE_PAGES]) == (13, 13)
    assert found[PhaseAsks.ACCURACY] == pytest.approx(11 / 13)
    assert found[PhaseAsks.CLOSED_ALONE] == pytest.approx(6 / 13)


async def test_a_plan_that_a_person_edited_or_that_failed_was_not_right(scene: Scene) -> None:
    await scene.good(2)
    await scene.closed("inc_edited", *both("inc_edited", scene.clock.now(), Origin.EDITED))
    success, _ = both("inc_again", scene.clock.now())
    failure = success.model_copy(update={"credit": Credit.FAILURE, "grounds": Grounds.RELAPSED})
    await scene.closed("inc_again", success, failure)
    await scene.closed("inc_person", *both("inc_person", scene.clock.now()), resolution="closed_by_person")
    found = {each.name: each.observed for each in (await scene.rollouts.of(SCOPE)).criteria}
    assert (found[PhaseAsks.JUDGED], found[PhaseAsks.ACCURACY]) == (5, 3 / 5)


async def test_the_record_is_append_only(scene: Scene) -> None:
    await scene.to(Phase.PILOT)
    for change in (rollout_word.delete(), rollout_word.update().values(word="judged")):
        with pytest.raises(LedgerError, match="append-only"):
            async with scene.store.write() as tx:
                await tx.execute(change)


async def test_invariant_2_after_a_set_back_no_claim_that_was_decided_before_it_succeeds(scene: Scene) -> None:
    await scene.to(Phase.PILOT)
    plan = a_plan()
    request = await scene.authority.request(plan)
    await scene.rollouts.set_back(SCOPE, OLGA, "not today")
    with pytest.raises(RefusedError) as caught:
        await scene.authority.claims.take(request)
    assert caught.value.reason == "epoch_moved"
    assert isinstance(await scene.authority.claims.take(await scene.authority.request(plan)), Taken)


async def test_a_move_up_leaves_what_was_decided(scene: Scene) -> None:
    await scene.good(30)
    scene.clock.advance(28 * 86_400 - 60)
    await scene.good(30)
    scene.clock.advance(60)
    plan = a_plan()
    request = await scene.authority.request(plan)
    await scene.rollouts.advance(SCOPE, OLGA, "ready")
    assert isinstance(await scene.authority.claims.take(request), Taken)


@pytest.mark.parametrize("by_person", [True, False], ids=["a person", "an outcome"])
async def test_invariant_2_a_set_back_among_claims_lets_none_through_after_its_commit(
    store: Store, by_person: bool
) -> None:
    """The order of the ledger's entries judges, as it does for stops."""
    scene = Scene(store)
    await scene.to(Phase.PILOT)
    requests = []
    for n in range(24):
        plan = a_plan(f"pln_{n}", f"inc_{n}", [a_change(f"k{n}")])
        requests.append(await scene.authority.request(plan))

    async def back() -> None:
        await asyncio.sleep(0)
        if by_person:
            await scene.rollouts.set_back(SCOPE, OLGA, "now")
        else:
            await scene.closed("inc_bad", outcome("inc_bad", scene.clock.now(), Credit.FAILURE, Grounds.UNSAFE))

    halves = [scene.authority.claims.take(each) for each in requests]
    results = await asyncio.gather(*halves[:12], back(), *halves[12:], return_exceptions=True)
    claimed = sum(isinstance(each, Taken) for each in results)
    refused = [each for each in results if isinstance(each, RefusedError)]
    assert claimed + len(refused) == 24, [each for each in results if not isinstance(each, Taken)]
    assert {each.reason for each in refused} <= {"epoch_moved"}
    kinds = [type(each).__name__ for each in await entries(store, EntryType.CLAIM, EntryType.ROLLOUT_SET_BACK)]
    assert kinds[kinds.index("RolloutSetBack") :] == ["RolloutSetBack"], "no claim comes after it"


async def test_a_move_up_and_a_rollback_at_once_end_one_phase_down_or_where_it_was(store: Store) -> None:
    """Whoever is second sees the first: either the rollback is in the evidence, or it takes the new phase back."""
    scene = Scene(store)
    await scene.to(Phase.PILOT)
    scene.clock.advance(28 * 86_400)
    await scene.good(30)
    bad = outcome("inc_bad", scene.clock.now(), Credit.FAILURE, Grounds.UNDONE)
    await asyncio.gather(
        scene.rollouts.advance(SCOPE, OLGA, "ready"), scene.closed("inc_bad", bad), return_exceptions=True
    )
    phases = [each.phase for each in await scene.moves() if isinstance(each, RolloutAdvanced | RolloutSetBack)]
    assert phases in ([Phase.PILOT, Phase.EXPANDED, Phase.PILOT], [Phase.PILOT, Phase.TRIAGE])
    assert await scene.phase() is phases[-1]
