"""An agent's standing through the whole graph in simulated time: ceiling, promotion, another make, budget."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.testbed.authority import an_operator, entries
from tests.testbed.grants import grant, policy
from tests.testbed.simulated import Simulation, open_simulation

from watchkeeper.agents import manifest
from watchkeeper.agents.manifest import GATEWAY_DIAGNOSER, manifest_digest
from watchkeeper.agents.roster import AgentState, Roster
from watchkeeper.agents.tables import agent_usage
from watchkeeper.agents.usage import AgentUsage
from watchkeeper.core.actions import Intent
from watchkeeper.core.agents import AgentBudget, Usage
from watchkeeper.core.decisions import Autonomy, DecisionRecord, Reason, Verdict
from watchkeeper.core.entries import ClaimRefused, EntryType, Escalated
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.policies.trust.key import TrustKey

pytestmark = pytest.mark.timeout(300)
OLGA = an_operator("olga")
RUNBOOK = "throttle-runaway-caller"

LITELLM_REMEDIATOR = "remediator/litellm"


def _grants() -> str:
    """Acts alone where it is promoted."""
    given = grant(RUNBOOK, ["throttle"], ["key"], environment="sim", service="*", ttl="1h")
    given["spec"]["requirePromotion"] = True
    given["spec"]["approvals"] = []
    return policy(given)


@pytest.fixture
async def sim(tmp_path: Path) -> AsyncIterator[Simulation]:
    async with open_simulation(tmp_path, seed=3, grants=_grants()) as made:
        await made.go(60)
        yield made


def key(sim: Simulation) -> TrustKey:
    (service,) = {each.scope.service for each in sim.parts.settings.services if "research" in each.agents} or {"chat"}
    return TrustKey(
        agent=LITELLM_REMEDIATOR,
        manifest_digest=manifest_digest(LITELLM_REMEDIATOR),
        runbook=RUNBOOK,
        intent=Intent.THROTTLE,
        scope=Scope(environment="sim", service=service),
    )


async def earned(sim: Simulation) -> None:
    about, now = key(sim), sim.clock.now()
    made = [
        TrustOutcome(
            **about.model_dump(exclude={"scope"}),
            scope=about.scope,
            incident=IncidentId(f"inc_t{n}"),
            plan=PlanId(f"pln_t{n}"),
            step=0,
            origin=Origin.SHADOW if n >= 40 else Origin.APPROVED,
            credit=Credit.FAILURE if n >= 40 else Credit.SUCCESS,
            grounds=Grounds.NOT_RECOVERED if n >= 40 else Grounds.RECOVERED,
            at=now,
        )
        for n in range(52)
    ]
    async with sim.parts.store.write() as tx:
        await sim.parts.crew.trust.record(tx, made)


async def decisions(sim: Simulation) -> list[DecisionRecord]:
    return [e for e in await entries(sim.parts.store, EntryType.DECISION) if isinstance(e, DecisionRecord)]


async def loop(sim: Simulation) -> DecisionRecord:
    sim.traffic.caller("research").looping = True
    await sim.go(30)
    return (await decisions(sim))[-1]


def reasons(record: DecisionRecord) -> set[Reason]:
    return {each.reason for each in record.decision.blocking}


async def test_without_a_promotion_a_person_is_asked_and_with_one_it_acts_alone(sim: Simulation) -> None:
    await earned(sim)
    await sim.parts.crew.promotions.promote(key(sim), Autonomy.BOUNDED, OLGA, "a good record")
    record = await loop(sim)
    assert record.input.standing is not None
    assert (record.input.standing.promoted, record.decision.verdict) == (Autonomy.BOUNDED, Verdict.ALLOW)
    assert sum(sim.effects().values()) == 1


async def test_nobody_promoted_it_so_a_person_is_asked(sim: Simulation) -> None:
    record = await loop(sim)
    assert reasons(record) == {Reason.NOT_PROMOTED}
    assert record.decision.verdict is Verdict.REQUIRE_APPROVAL
    assert sim.effects() == {}


async def test_adversary_a_promoted_agent_whose_make_changed_is_not_promoted(
    sim: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its modules are all the prompt that it has: other bytes are another agent, with a record of its own."""
    await earned(sim)
    await sim.parts.crew.promotions.promote(key(sim), Autonomy.BOUNDED, OLGA, "a good record")
    changed = {**manifest.MODULES, LITELLM_REMEDIATOR: manifest.MODULES[LITELLM_REMEDIATOR][1:]}
    monkeypatch.setattr(manifest, "MODULES", changed)
    manifest.manifest_digest.cache_clear()
    try:
        record = await loop(sim)
    finally:
        manifest.manifest_digest.cache_clear()
    assert (record.decision.verdict, reasons(record)) == (Verdict.REQUIRE_APPROVAL, {Reason.NOT_PROMOTED})
    assert record.input.trust_lower_bound is None
    assert sim.effects() == {}


async def test_a_ceiling_holds_whatever_policy_and_promotion_say(sim: Simulation) -> None:
    await earned(sim)
    await sim.parts.crew.promotions.promote(key(sim), Autonomy.BOUNDED, OLGA, "a good record")
    await sim.parts.crew.promotions.set_ceiling(LITELLM_REMEDIATOR, Autonomy.SHADOW, OLGA, "not this week")
    record = await loop(sim)
    assert (record.decision.verdict, reasons(record)) == (Verdict.SHADOW, {Reason.AGENT_HELD_BACK})
    assert sim.effects() == {}


async def test_a_ceiling_of_the_detector_holds_what_it_led_to(sim: Simulation) -> None:
    await earned(sim)
    await sim.parts.crew.promotions.promote(key(sim), Autonomy.BOUNDED, OLGA, "a good record")
    await sim.parts.crew.promotions.set_ceiling("detector/runaway-loop", Autonomy.PROPOSE, OLGA, "it cries wolf")
    record = await loop(sim)
    assert (record.decision.verdict, reasons(record)) == (Verdict.REQUIRE_APPROVAL, {Reason.AGENT_HELD_BACK})
    assert sim.effects() == {}


async def test_invariant_9_a_revoked_detector_still_sees_and_nothing_that_rests_on_it_is_done(sim: Simulation) -> None:
    await earned(sim)
    await sim.parts.crew.promotions.promote(key(sim), Autonomy.BOUNDED, OLGA, "a good record")
    await sim.parts.crew.epochs.stop("agent:detector/runaway-loop", OLGA)
    record = await loop(sim)
    refused = [e.reason for e in await entries(sim.parts.store, EntryType.CLAIM_REFUSED) if isinstance(e, ClaimRefused)]
    assert (record.decision.verdict, set(refused)) == (Verdict.ALLOW, {"stopped"})
    assert sim.effects() == {}


async def use_up(sim: Simulation, agent: str) -> None:
    async with sim.parts.store.write() as tx:
        await sim.parts.crew.usage.add(tx, agent, Usage(iterations=1001))


async def test_a_remediator_over_its_budget_acts_no_longer_alone(sim: Simulation) -> None:
    await earned(sim)
    await sim.parts.crew.promotions.promote(key(sim), Autonomy.BOUNDED, OLGA, "a good record")
    await use_up(sim, LITELLM_REMEDIATOR)
    record = await loop(sim)
    assert (record.decision.verdict, reasons(record)) == (Verdict.REQUIRE_APPROVAL, {Reason.AGENT_OVER_BUDGET})


async def test_invariant_10_a_diagnoser_over_its_budget_hands_over_and_says_why(sim: Simulation) -> None:
    await use_up(sim, GATEWAY_DIAGNOSER)
    sim.traffic.caller("research").looping = True
    await sim.go(30)
    told = [each.reason for each in await entries(sim.parts.store, EntryType.ESCALATION) if isinstance(each, Escalated)]
    assert told == ["diagnoser_over_budget"]
    assert await decisions(sim) == []


async def test_what_each_agent_used_is_counted_where_it_worked(sim: Simulation) -> None:
    await loop(sim)
    await sim.go(70)
    crew = sim.parts.crew
    roster = Roster(crew.promotions, crew.usage, crew.epochs)
    used = {each.name: each.used for each in await roster.agents()}
    assert used["detector/runaway-loop"].iterations == 1
    assert used["detector/token-cost"].iterations == 0
    assert used["detector/token-cost"].wall_s > 0
    assert used[GATEWAY_DIAGNOSER].iterations == used[LITELLM_REMEDIATOR].iterations == 1
    assert {(each.tokens, each.usd) for each in used.values()} == {(0, 0.0)}


async def test_the_roster_tells_what_an_agent_is_and_how_it_stands(sim: Simulation) -> None:
    crew = sim.parts.crew
    roster = Roster(crew.promotions, crew.usage, crew.epochs)
    await crew.epochs.stop(f"agent:{LITELLM_REMEDIATOR}", OLGA)
    await use_up(sim, "detector/token-cost")
    states = {each.name: each.state for each in await roster.agents()}
    assert states[LITELLM_REMEDIATOR] is AgentState.REVOKED
    assert states["detector/token-cost"] is AgentState.OVER_BUDGET
    assert states[GATEWAY_DIAGNOSER] is AgentState.ACTIVE
    agent = await roster.agent(LITELLM_REMEDIATOR)
    assert agent.revoked is not None
    assert (agent.revoked.changed_by, agent.role, agent.ceiling) == ("olga", "remediator", Autonomy.FULL)
    assert agent.modules
    assert json.loads(agent.model_dump_json())["memory"]
    with pytest.raises(NotFoundError, match="did you mean"):
        await roster.agent("remediator/litelm")


async def test_usage_is_forgotten_after_a_day_and_slides_out_of_its_window(sim: Simulation) -> None:
    budgets = {LITELLM_REMEDIATOR: AgentBudget(per_s=120, usd=1.0, tokens=10)}
    usage = AgentUsage(sim.parts.store, sim.clock, budgets)
    async with sim.parts.store.write() as tx:
        await usage.add(tx, LITELLM_REMEDIATOR, Usage(tokens=10, usd=1.0, wall_s=0.5))
    assert await usage.spent(LITELLM_REMEDIATOR) == ()
    async with sim.parts.store.write() as tx:
        await usage.add(tx, LITELLM_REMEDIATOR, Usage(tokens=1, usd=0.25))
    assert await usage.spent(LITELLM_REMEDIATOR) == ("tokens", "usd")
    assert await usage.used(LITELLM_REMEDIATOR) == Usage(tokens=11, usd=1.25, wall_s=0.5)
    sim.clock.advance(200)
    assert await usage.spent(LITELLM_REMEDIATOR) == ()
    sim.clock.advance(90_000)
    async with sim.parts.store.write() as tx:
        await usage.add(tx, LITELLM_REMEDIATOR, Usage(iterations=1))
        kept = (await tx.execute(select(agent_usage).where(agent_usage.c.agent == LITELLM_REMEDIATOR))).all()
    assert len(kept) == 1
