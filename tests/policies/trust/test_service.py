"""Outcomes in both databases: recorded once, with their entry, and read as of now."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.testbed.authority import START, Authority, a_change, a_plan, entries

from watchkeeper.core.actions import Intent
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import LedgerError
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.policies.trust.key import TrustKey
from watchkeeper.policies.trust.service import Trust
from watchkeeper.store.engine import Store

SCOPE = Scope(environment="prod", service="chat")
KEY = TrustKey(
    agent="remediator/litellm",
    manifest_digest="sha256:m",
    runbook="throttle-runaway-caller",
    intent=Intent.THROTTLE,
    scope=SCOPE,
)


@pytest.fixture
def authority(store: Store) -> Authority:
    return Authority(store, ManualClock())


@pytest.fixture
def trust(authority: Authority) -> Trust:
    return authority.trust


def outcome(number: int = 1, credit: Credit = Credit.SUCCESS, **fields: object) -> TrustOutcome:
    made = TrustOutcome(
        agent=KEY.agent,
        manifest_digest=KEY.manifest_digest,
        runbook=KEY.runbook,
        intent=KEY.intent,
        scope=SCOPE,
        incident=IncidentId(f"inc_{number}"),
        plan=PlanId(f"pln_{number}"),
        step=0,
        origin=Origin.ALONE,
        credit=credit,
        grounds=Grounds.RECOVERED if credit is Credit.SUCCESS else Grounds.NOT_RECOVERED,
        at=START,
    )
    return made.model_copy(update=fields)


async def record(authority: Authority, *outcomes: TrustOutcome) -> None:
    async with authority.store.write() as tx:
        await authority.trust.record(tx, outcomes)


async def scored(authority: Authority) -> list[TrustOutcome]:
    return [each for each in await entries(authority.store, EntryType.TRUST_OUTCOME) if isinstance(each, TrustOutcome)]


async def test_where_nothing_is_kept_there_is_no_bound(trust: Trust) -> None:
    assert await trust.bound([KEY]) is None
    assert await trust.bound_of(a_plan()) is None
    assert (await trust.standing(KEY)).lower_bound is None
    assert await trust.standings({KEY.agent: KEY.manifest_digest}) == ()
    assert await trust.standings({}) == ()


async def test_an_outcome_is_recorded_once_with_its_entry(authority: Authority) -> None:
    await record(authority, outcome())
    await record(authority, outcome(), outcome(grounds=Grounds.RELAPSED))
    assert await scored(authority) == [outcome()]
    assert (await authority.trust.standing(KEY)).verified.successes == 1


async def test_who_records_it_at_the_same_time_adds_nothing(authority: Authority) -> None:
    others = [Authority(authority.store, authority.clock, writer=f"w{number}") for number in range(4)]
    await asyncio.gather(*(record(each, outcome(1), outcome(2)) for each in others))
    assert sorted(each.plan for each in await scored(authority)) == ["pln_1", "pln_2"]


async def test_neither_row_nor_entry_is_there_if_the_transaction_is_not(authority: Authority) -> None:
    async def killed() -> None:
        async with authority.store.write() as tx:
            await authority.trust.record(tx, [outcome()])
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        await killed()
    assert (await scored(authority), await authority.trust.bound([KEY])) == ([], None)


async def test_a_failure_takes_a_success_back_and_nothing_takes_back_a_failure(authority: Authority) -> None:
    await record(authority, outcome(), outcome(credit=Credit.FAILURE))
    assert len(await scored(authority)) == 2
    await record(authority, outcome(2, Credit.FAILURE), outcome(2), outcome(2, Credit.NOTHING))
    assert len(await scored(authority)) == 3
    found = await authority.trust.standing(KEY)
    assert (found.verified.successes, found.verified.failures, found.lower_bound) == (0, 2, 0.0)


async def test_a_relapse_after_the_end_debits_the_remediator_alone(authority: Authority) -> None:
    diagnosed = outcome(agent="diagnoser/gateway")
    shadow = outcome(2, origin=Origin.SHADOW, incident=IncidentId("inc_1"))
    await record(authority, outcome(), diagnosed, shadow, outcome(3))
    async with authority.store.write() as tx:
        await authority.trust.relapsed(tx, IncidentId("inc_1"))
        await authority.trust.relapsed(tx, IncidentId("inc_1"))
    (told,) = (await scored(authority))[4:]
    assert (told.plan, told.agent, told.credit, told.grounds) == ("pln_1", KEY.agent, Credit.FAILURE, Grounds.RELAPSED)


async def test_a_changed_digest_starts_the_record_again(authority: Authority) -> None:
    await record(authority, *(outcome(number) for number in range(30)))
    assert await authority.trust.bound([KEY]) == pytest.approx(0.907885)
    changed = KEY.model_copy(update={"manifest_digest": "sha256:other"})
    assert await authority.trust.bound([changed]) is None
    assert (await authority.trust.standing(changed)).verified.successes == 0
    assert await authority.trust.standings({KEY.agent: "sha256:other"}) == ()
    (found,) = await authority.trust.standings({KEY.agent: KEY.manifest_digest})
    assert (found.key, found.verified.successes, found.proposed) == (KEY, 30, False)


async def test_a_plan_is_trusted_as_far_as_the_least_of_its_actions(authority: Authority) -> None:
    blocked = a_change("k2").model_copy(update={"intent": Intent.BLOCK})
    plan = a_plan(changes=[a_change(), blocked])
    await record(authority, *(outcome(number) for number in range(30)))
    assert await authority.trust.bound_of(plan) is None
    await record(authority, *(outcome(100 + number, intent=Intent.BLOCK) for number in range(3)))
    of_block = await authority.trust.bound([KEY.model_copy(update={"intent": Intent.BLOCK})])
    assert await authority.trust.bound_of(plan) == of_block == pytest.approx(0.472870)
    assert await authority.trust.bound_of(a_plan()) == pytest.approx(0.907885)


async def test_another_scope_borrows_and_time_takes_it_away(authority: Authority) -> None:
    await record(authority, *(outcome(number) for number in range(30)))
    near = KEY.model_copy(update={"scope": Scope(environment="prod", service="search")})
    assert await authority.trust.bound([near]) == pytest.approx(0.761595)
    found = await authority.trust.standing(near)
    assert (found.verified.successes, found.borrowed) == (0, 10)
    authority.clock.advance(timedelta(days=360).total_seconds())  # type: ignore[attr-defined]
    assert await authority.trust.bound([KEY]) == pytest.approx(0.05 ** (1 / 8.5), abs=2e-3)
    authority.clock.advance(timedelta(days=1500).total_seconds())  # type: ignore[attr-defined]
    assert await authority.trust.bound([KEY]) is None


async def test_untreated_is_of_the_action_in_the_scope_whoever_would_have_acted(authority: Authority) -> None:
    shadow: dict[str, Any] = {"origin": Origin.SHADOW, "agent": "remediator/other", "manifest_digest": "sha256:x"}
    await record(authority, *(outcome(number, Credit.FAILURE, **shadow) for number in range(9)), outcome(20, **shadow))
    await record(authority, outcome(30), outcome(31, scope=Scope(environment="prod", service="mail"), **shadow))
    found = await authority.trust.standing(KEY)
    assert (found.untreated.successes, found.untreated.failures, found.verified.successes) == (1, 9, 1)
    assert found.untreated_upper == pytest.approx(0.364, abs=1e-3)


@pytest.mark.parametrize("statement", ["UPDATE trust_outcome SET credit = 'success'", "DELETE FROM trust_outcome"])
async def test_the_database_refuses_to_change_what_is_on_record(authority: Authority, statement: str) -> None:
    await record(authority, outcome())
    with pytest.raises(LedgerError, match="trust_outcome is append-only"):
        async with authority.store.write() as tx:
            await tx.execute(text(statement))
