"""Who is credited and who is debited for what, case by case."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.testbed.authority import START, Authority, a_change, a_plan, a_record, entries

from watchkeeper.agents import scores, tale
from watchkeeper.agents.records import Checked, Decided, Done, Proposed
from watchkeeper.agents.remedies import CHANGED
from watchkeeper.agents.scores import Deed
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import Verdict
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.entries import EntryType
from watchkeeper.core.ids import ActionKey, ClaimId, DiagnosisId, IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect, EffectOutcome, Outcome, Recovery
from watchkeeper.core.trust import Credit, Grounds, Origin, TrustOutcome
from watchkeeper.store.engine import Store

PLAN = a_plan(changes=[a_change("k1"), a_change("k2")])
DIAGNOSIS = Diagnosis(
    id=DiagnosisId("dgn_1"),
    incident=PLAN.incident,
    diagnoser="diagnoser/gateway",
    at=START,
    causes=(),
    novel=False,
    state_digest="sha256:s",
    code_digest="sha256:d",
)
DEED = Deed(PLAN, a_record(PLAN), DIAGNOSIS)
BOTH = (0, 1)
R, D = PLAN.remediator, DIAGNOSIS.diagnoser


def said(outcomes: tuple[TrustOutcome, ...]) -> list[tuple[str, int, Credit, Grounds]]:
    return [(each.agent, each.step, each.credit, each.grounds) for each in outcomes]


def failed(*who: str, grounds: Grounds = Grounds.NOT_RECOVERED) -> list[tuple[str, int, Credit, Grounds]]:
    return [(agent, step, Credit.FAILURE, grounds) for agent in who for step in BOTH]


def test_each_is_scored_under_a_digest_of_its_own() -> None:
    found = scores.verified(DEED, BOTH, Recovery.NOT_RECOVERED, START, harmed=False, last=True)
    assert said(found) == failed(R, D)
    assert {each.agent: each.manifest_digest for each in found} == {R: "sha256:m", D: "sha256:d"}


@pytest.mark.parametrize(
    ("verdict", "origin"),
    [
        (Verdict.ALLOW, Origin.ALONE),
        (Verdict.REQUIRE_APPROVAL, Origin.APPROVED),
        (Verdict.SHADOW, Origin.SHADOW),
    ],
)
def test_the_decision_tells_who_let_it_be_done(verdict: Verdict, origin: Origin) -> None:
    assert Deed(PLAN, a_record(PLAN, verdict)).origin is origin


def test_a_plan_that_a_person_edited_is_kept_apart_whoever_let_it_run() -> None:
    edited = PLAN.model_copy(update={"authors": ("person:ada",)})
    for verdict in (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL):
        assert Deed(edited, a_record(edited, verdict)).origin is Origin.EDITED


@pytest.mark.parametrize("recovery", Recovery)
@pytest.mark.parametrize("last", [False, True])
def test_harm_to_others_is_the_remediator_s_whatever_was_healed(recovery: Recovery, last: bool) -> None:
    assert said(scores.verified(DEED, BOTH, recovery, START, harmed=True, last=last)) == failed(
        R, grounds=Grounds.UNSAFE
    )


@pytest.mark.parametrize("recovery", Recovery)
def test_a_reading_that_is_not_the_last_settles_nothing(recovery: Recovery) -> None:
    assert scores.verified(DEED, BOTH, recovery, START, harmed=False, last=False) == ()


def test_a_recovery_credits_the_diagnoser_at_once_and_the_remediator_at_the_end() -> None:
    found = scores.verified(DEED, (0,), Recovery.RECOVERED, START, harmed=False, last=True)
    assert said(found) == [(D, 0, Credit.SUCCESS, Grounds.RECOVERED)]
    assert said(scores.ended(DEED, (0,), Recovery.RECOVERED, START, moot=False)) == [
        (R, 0, Credit.SUCCESS, Grounds.RECOVERED)
    ]


def test_of_a_relapse_the_diagnoser_hears_nothing() -> None:
    again = Deed(PLAN, DEED.record)
    assert said(scores.verified(again, BOTH, Recovery.NOT_RECOVERED, START, harmed=False, last=True)) == failed(R)


@pytest.mark.parametrize(
    ("reason", "grounds"),
    [
        ("undone_by_person", Grounds.UNDONE),
        ("relapsed_under_remedy", Grounds.RELAPSED_UNDER_REMEDY),
        ("inconclusive", None),
        ("not_recovered", None),
        ("guard_breached", None),
        ("effect_failed", None),
        ("refused_stopped", None),
        ("remedy_expired", None),
    ],
)
def test_an_undo_judges_only_where_nothing_else_has(reason: str, grounds: Grounds | None) -> None:
    found = said(scores.undone(DEED, BOTH, reason, START))
    assert found == ([] if grounds is None else failed(R, grounds=grounds))


@pytest.mark.parametrize(
    ("effect", "code", "counts"),
    [
        (Effect.FAILED, "http_400", True),
        (Effect.FAILED, "unreachable", True),
        (Effect.FAILED, CHANGED, False),
        (Effect.FAILED, "authority_lost", False),
        (Effect.FAILED, "deadline_passed", False),
        (Effect.UNKNOWN, "timeout", False),
        (Effect.SUCCEEDED, "http_200", False),
    ],
)
async def test_a_failed_effect_is_scored_in_the_commit_that_settles_it(
    store: Store, effect: Effect, code: str, counts: bool
) -> None:
    authority, followed = Authority(store, ManualClock()), []

    async def also(tx: AsyncConnection, outcome: EffectOutcome) -> None:
        followed.append(outcome)

    both = scores.scored(authority.trust, DEED, 0, also)
    await authority.claims.settle(await authority.taken(PLAN), effect, code, both)
    found = tuple(each for each in await entries(store, EntryType.TRUST_OUTCOME) if isinstance(each, TrustOutcome))
    assert said(found) == ([(R, 0, Credit.FAILURE, Grounds.EFFECT_FAILED)] if counts else [])
    assert len(followed) == 1


def effect(step: int, what: Effect = Effect.SUCCEEDED) -> EffectOutcome:
    key = ActionKey(f"{PLAN.id}/{step}/{EffectPhase.APPLY}")
    return EffectOutcome(claim=ClaimId("clm"), key=key, fence=1, effect=what, code="x", at=START)


def reading(recovery: Recovery, seconds: int = 0) -> Checked:
    at = START + timedelta(seconds=seconds)
    outcome = Outcome(incident=PLAN.incident, plan=PLAN.id, recovery=recovery, horizon_s=60, sli=None, at=at)
    return Checked(outcome=outcome, guard_breached=False)


def steps(verdict: Verdict, /, **more: Contract) -> Mapping[str, bytes]:
    """An incident's steps; in the names of those given `_` stands for `/`."""
    recorded: dict[str, Contract] = {
        "propose/0": Proposed(plan=PLAN),
        "diagnose/0": DIAGNOSIS,
        "decide/0/0": Decided(record=a_record(PLAN, verdict), epochs=()),
    }
    recorded |= {name.replace("_", "/"): step for name, step in more.items()}
    return {name: canonical_model(step) for name, step in recorded.items()}


DONE = Done(effects=(effect(0), effect(1)))
ONE = Done(effects=(effect(0), effect(1, Effect.FAILED)))


@pytest.mark.parametrize(
    ("recorded", "resolution", "expected"),
    [
        ({}, "denied_no_grant", []),
        ({}, "moot", [(0, Credit.NOTHING, Grounds.MOOT), (1, Credit.NOTHING, Grounds.MOOT)]),
        ({"execute_0_0": ONE}, "effect_failed", [(0, Credit.NOTHING, Grounds.NOT_VERIFIED)]),
        (
            {"execute_0_0": ONE, "verify_0_0_0_0": reading(Recovery.RECOVERED)},
            "recovered",
            [(0, Credit.SUCCESS, Grounds.RECOVERED)],
        ),
        ({"execute_0_0": DONE, "verify_0_0_0_0": reading(Recovery.NOT_RECOVERED)}, "not_recovered", []),
        (
            {
                "execute_0_0": ONE,
                "verify_0_0_0_1": reading(Recovery.INCONCLUSIVE, 60),
                "verify_0_0_0_0": reading(Recovery.INCONCLUSIVE),
            },
            "inconclusive",
            [(0, Credit.NOTHING, Grounds.INCONCLUSIVE)],
        ),
        (
            {
                "execute_0_0": ONE,
                "verify_0_0_0_0": reading(Recovery.INCONCLUSIVE),
                "verify_0_0_0_1": reading(Recovery.RECOVERED, 60),
                "verify_0_1_0_0": reading(Recovery.NOT_RECOVERED, 900),
            },
            "recovered",
            [(0, Credit.SUCCESS, Grounds.RECOVERED)],
        ),
    ],
)
def test_the_end_of_an_incident_from_its_steps(
    recorded: dict[str, Contract], resolution: str, expected: list[tuple[int, Credit, Grounds]]
) -> None:
    found = tale.told(steps(Verdict.ALLOW, **recorded), resolution, START, by_person=False)
    assert [(each.step, each.credit, each.grounds) for each in found] == expected
    assert {each.agent for each in found} <= {R}


def test_an_incident_whose_plan_a_person_edited_comes_to_its_end() -> None:
    """Nobody diagnosed anew for the edit: what was proposed and decided is of the next attempt, the diagnosis not."""
    edited = PLAN.model_copy(update={"authors": ("ann",)})
    more: dict[str, Contract] = {
        "propose_1": Proposed(plan=edited),
        "decide_1_0": Decided(record=a_record(edited, Verdict.REQUIRE_APPROVAL), epochs=()),
        "execute_1_0": ONE,
        "verify_1_0_0_0": reading(Recovery.RECOVERED),
    }
    found = tale.told(steps(Verdict.REQUIRE_APPROVAL, **more), "recovered", START, by_person=False)
    assert [(each.agent, each.step, each.credit, each.origin) for each in found] == [
        (R, 0, Credit.SUCCESS, Origin.EDITED)
    ]


@pytest.mark.parametrize(
    ("read", "by_person", "expected"),
    [
        (Recovery.RECOVERED, True, (Credit.SUCCESS, Grounds.RECOVERED)),
        (Recovery.NOT_RECOVERED, False, (Credit.FAILURE, Grounds.NOT_RECOVERED)),
        (Recovery.INCONCLUSIVE, False, (Credit.NOTHING, Grounds.INCONCLUSIVE)),
        (None, False, (Credit.SUCCESS, Grounds.RECOVERED)),
        (None, True, (Credit.NOTHING, Grounds.NOT_VERIFIED)),
    ],
)
def test_the_end_of_an_incident_in_shadow(
    read: Recovery | None, by_person: bool, expected: tuple[Credit, Grounds]
) -> None:
    more = {} if read is None else {"untreated_0": reading(read)}
    found = tale.told(steps(Verdict.SHADOW, **more), "shadow_only", START, by_person=by_person)
    assert [(each.origin, each.credit, each.grounds) for each in found] == [(Origin.SHADOW, *expected)] * 2


def test_only_the_last_attempt_is_scored_and_none_where_there_was_no_plan() -> None:
    later = dict(steps(Verdict.ALLOW, execute_0_0=DONE)) | {
        "propose/1": canonical_model(Proposed(plan=None, refused=("none",)))
    }
    assert tale.told(later, "no_plan_none", START, by_person=False) == ()
    assert tale.told({}, "novel_cause", START, by_person=False) == ()
    undecided = {name: body for name, body in steps(Verdict.ALLOW).items() if name == "propose/0"}
    assert tale.told(undecided, "closed_by_person", START, by_person=True) == ()


async def test_steps_are_read_in_the_transaction_that_ends_it(store: Store) -> None:
    async with store.write() as tx:
        assert await tale.ending(tx, IncidentId("inc_none"), "moot", START, by_person=False) == ()
