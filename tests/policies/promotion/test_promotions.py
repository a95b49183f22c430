"""People's word about agents: earned, made by a person, for one make; taken back at once."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from tests.testbed.authority import Authority, a_change, a_person, a_plan, a_record, entries
from tests.testbed.promoting import KEY, OLGA, earned, outcome, over, promoted, record, words

from watchkeeper.core.agents import StandingChanged, Why, Word
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import ConflictError, ForbiddenError, InputError, RefusedError
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.core.subjects import Scope
from watchkeeper.core.trust import Credit, Grounds, Origin
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.claiming.claims import Taken
from watchkeeper.policies.promotion.service import Promotions
from watchkeeper.store.engine import Store


@pytest.fixture
def promotions(authority: Authority) -> Promotions:
    return over(authority)


async def test_what_has_no_record_is_not_promoted_and_the_error_says_what_is_missing(promotions: Promotions) -> None:
    with pytest.raises(ConflictError, match=r"outcomes, rate, lower_bound, untreated_seen, beats_untreated not met"):
        await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "I like it")
    assert await promotions.promoted_for(a_plan()) is None


async def test_a_person_promotes_what_was_earned_in_one_commit_with_its_entry(
    authority: Authority, promotions: Promotions
) -> None:
    await promoted(authority, promotions)
    assert await promotions.promoted_for(a_plan()) is Autonomy.BOUNDED
    (said,) = [e for e in await entries(authority.store, EntryType.AGENT_STANDING) if isinstance(e, StandingChanged)]
    assert (said.by, said.outcomes, said.epoch) == (OLGA, 40, None)
    assert said.lower_bound is not None
    assert said.lower_bound > 0.9
    (line,) = await promotions.history(KEY.agent, 10)
    assert (line.word, line.why, line.number) == (said, "four good weeks", await promotions.newest(KEY.agent))
    assert await promotions.standing_now((KEY.agent,)) == [said]


@pytest.mark.parametrize(
    "who",
    [
        a_person("bot", Role.ADMIN, kind=PrincipalKind.SERVICE),
        a_person("watchkeeper", Role.ADMIN, kind=PrincipalKind.DAEMON),
        a_person("vera", Role.VIEWER),
        a_person("anna", Role.APPROVER),
    ],
    ids=["service", "daemon", "viewer", "approver"],
)
async def test_adversary_no_agent_and_nobody_without_the_role_promotes(
    authority: Authority, promotions: Promotions, who: object
) -> None:
    await earned(authority)
    for attempt in (
        promotions.promote(KEY, Autonomy.BOUNDED, who, "myself"),  # type: ignore[arg-type]
        promotions.set_ceiling(KEY.agent, Autonomy.FULL, who, "myself"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ForbiddenError):
            await attempt
    assert await words(authority) == []


async def test_only_remediators_are_promoted_and_only_to_act_alone(
    authority: Authority, promotions: Promotions
) -> None:
    await earned(authority)
    with pytest.raises(InputError):
        await promotions.promote(KEY, Autonomy.PROPOSE, OLGA, "why")
    with pytest.raises(InputError):
        await promotions.promote(KEY.model_copy(update={"agent": "detector/token-cost"}), Autonomy.FULL, OLGA, "why")
    with pytest.raises(InputError, match="a reason"):
        await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "  ")


async def test_a_promotion_is_for_one_make_action_and_scope(authority: Authority, promotions: Promotions) -> None:
    await promoted(authority, promotions)
    plan = a_plan()
    assert await promotions.promoted_for(plan.model_copy(update={"manifest_digest": "sha256:other"})) is None
    elsewhere = plan.model_copy(update={"scope": Scope(environment="prod", service="search")})
    assert await promotions.promoted_for(elsewhere) is None
    other = plan.model_copy(update={"runbook": plan.runbook.model_copy(update={"name": "cap-token-spend"})})
    assert await promotions.promoted_for(other) is None


async def test_invariant_2_after_a_demotion_no_claim_that_was_decided_before_it_succeeds(
    authority: Authority, promotions: Promotions
) -> None:
    await promoted(authority, promotions)
    plan = a_plan()
    request = await authority.request(plan, record=a_record(plan))
    (said,) = await promotions.demote(KEY, OLGA, "not so sure")
    assert said.epoch is not None
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(request)
    assert caught.value.reason == "epoch_moved"
    assert await promotions.promoted_for(plan) is None
    assert await words(authority) == [
        (Word.PROMOTED, Why.PERSON, Autonomy.BOUNDED),
        (Word.DEMOTED, Why.PERSON, None),
    ]
    with pytest.raises(ConflictError, match="is not promoted"):
        await promotions.demote(KEY, OLGA, "again")
    await authority.taken(plan, record=a_record(plan))  # decided anew, whatever that says


async def test_a_demotion_strands_nothing_that_is_owed_back(authority: Authority, promotions: Promotions) -> None:
    await promoted(authority, promotions)
    plan = a_plan()
    await authority.claims.settle(await authority.taken(plan), Effect.SUCCEEDED, "http_200")
    await promotions.demote(KEY, OLGA, "enough")
    await authority.taken(plan, phase=EffectPhase.UNDO, breach=None)


async def test_a_rollback_takes_the_promotion_back_in_the_transaction_that_records_it(
    authority: Authority, promotions: Promotions
) -> None:
    await promoted(authority, promotions)
    plan = a_plan()
    request = await authority.request(plan)
    await record(authority, outcome(2000, Credit.FAILURE, Grounds.UNSAFE))
    assert (await words(authority))[-1] == (Word.DEMOTED, Why.ROLLED_BACK, None)
    assert await promotions.promoted_for(plan) is None
    with pytest.raises(RefusedError, match="since the decision"):
        await authority.claims.take(request)
    await record(authority, outcome(2001, Credit.FAILURE, Grounds.UNSAFE))
    assert len(await words(authority)) == 2, "what is not promoted is not taken back again"


async def test_a_bound_that_falls_below_the_floor_takes_it_back(authority: Authority, promotions: Promotions) -> None:
    await promoted(authority, promotions)
    for n in range(8):
        if await promotions.promoted_for(a_plan()) is None:
            break
        await record(authority, outcome(3000 + n, Credit.FAILURE, Grounds.EFFECT_FAILED))
    assert n == 3, "40 of 43 has a lower bound below 0.85"
    assert (await words(authority))[-1] == (Word.DEMOTED, Why.BELOW_FLOOR, None)


async def test_failures_elsewhere_in_shadow_or_of_another_make_leave_it(
    authority: Authority, promotions: Promotions
) -> None:
    await promoted(authority, promotions)
    failed = Credit.FAILURE, Grounds.UNSAFE
    await record(
        authority,
        outcome(4000, *failed, origin=Origin.SHADOW),
        outcome(4001, *failed, manifest_digest="sha256:other"),
        outcome(4002, *failed, scope=Scope(environment="prod", service="search")),
    )
    assert await promotions.promoted_for(a_plan()) is Autonomy.BOUNDED


async def test_a_lower_ceiling_moves_the_epoch_and_a_higher_one_does_not(
    authority: Authority, promotions: Promotions
) -> None:
    plan = a_plan()
    before = await authority.request(plan)
    assert await promotions.ceiling_of((KEY.agent,)) is Autonomy.FULL
    lowered = await promotions.set_ceiling(KEY.agent, Autonomy.PROPOSE, OLGA, "holiday season")
    assert lowered.epoch is not None
    assert await promotions.ceiling_of((KEY.agent,)) is Autonomy.PROPOSE
    with pytest.raises(RefusedError):
        await authority.claims.take(before)
    after = await authority.request(plan)
    raised = await promotions.set_ceiling(KEY.agent, Autonomy.FULL, OLGA, "over")
    assert raised.epoch is None
    assert isinstance(await authority.claims.take(after), Taken)


async def test_adversary_a_promotion_that_is_sent_again_says_nothing_new(
    authority: Authority, promotions: Promotions
) -> None:
    await earned(authority)
    await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record", 0)
    await promotions.demote(KEY, OLGA, "a doubt that is in no figure")
    with pytest.raises(ConflictError, match="more was said"):
        await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record", 0)
    assert await promotions.promoted_for(a_plan()) is None
    await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "no longer", await promotions.newest(KEY.agent))
    assert await promotions.promoted_for(a_plan()) is Autonomy.BOUNDED


async def test_a_stop_too_overtakes_a_promotion_that_did_not_know_of_it(
    authority: Authority, promotions: Promotions
) -> None:
    await earned(authority)
    await authority.epochs.stop(f"agent:{KEY.agent}", OLGA)
    with pytest.raises(ConflictError, match="more was said"):
        await promotions.promote(KEY, Autonomy.BOUNDED, OLGA, "a good record", 0)


async def test_a_demotion_is_for_every_make_so_none_comes_back_with_an_older_one(
    authority: Authority, promotions: Promotions
) -> None:
    """A package that is rolled back has the make of before."""
    await promoted(authority, promotions)
    newer = KEY.model_copy(update={"manifest_digest": "sha256:newer"})
    (said,) = await promotions.demote(newer, OLGA, "not this action")
    assert said.manifest_digest == KEY.manifest_digest
    assert await promotions.promoted_for(a_plan()) is None


async def test_failures_in_other_scopes_that_this_one_borrows_from_take_it_back(
    authority: Authority, promotions: Promotions, clock: ManualClock
) -> None:
    """A record that has faded is filled up from others."""
    await promoted(authority, promotions)
    elsewhere = Scope(environment="prod", service="search")
    failed = Credit.FAILURE, Grounds.EFFECT_FAILED
    await record(authority, *(outcome(7000 + n, *failed, scope=elsewhere) for n in range(10)))
    assert await promotions.promoted_for(a_plan()) is Autonomy.BOUNDED
    clock.advance(2 * 365 * 86_400)
    await record(authority, outcome(7100, *failed, scope=elsewhere, at=clock.now()))
    assert (await words(authority))[-1] == (Word.DEMOTED, Why.BELOW_FLOOR, None)


async def test_a_plan_goes_no_further_than_any_agent_that_had_a_part_in_it(
    authority: Authority, promotions: Promotions
) -> None:
    plan = resting_on("detector/runaway-loop", "diagnoser/gateway")
    before = await authority.request(plan, record=a_record(plan))
    await promotions.set_ceiling("detector/runaway-loop", Autonomy.PROPOSE, OLGA, "it cries wolf")
    await promotions.set_ceiling(KEY.agent, Autonomy.BOUNDED, OLGA, "enough")
    assert await promotions.ceiling_of(plan.agents) is Autonomy.PROPOSE
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(before)
    assert caught.value.reason == "epoch_moved"


@pytest.mark.parametrize("revoked", ["detector/runaway-loop", "diagnoser/gateway", KEY.agent])
async def test_invariant_2_after_any_agent_behind_a_plan_is_revoked_no_claim_succeeds(
    authority: Authority, revoked: str
) -> None:
    plan = resting_on("detector/runaway-loop", "diagnoser/gateway")
    before = await authority.request(plan, record=a_record(plan))
    other = a_plan("pln_other", "inc_other", [a_change("k2")])
    await authority.epochs.stop(f"agent:{revoked}", OLGA)
    for asked in (before, await authority.request(plan, record=a_record(plan))):
        with pytest.raises(RefusedError) as caught:
            await authority.claims.take(asked)
        assert caught.value.reason == "stopped"
    if revoked != KEY.agent:
        await authority.taken(other)  # it rests on nobody's work that was revoked
    await authority.epochs.resume(f"agent:{revoked}", OLGA)
    await authority.taken(plan, record=a_record(plan))


async def test_the_history_tells_words_and_stops_with_who_and_why(authority: Authority, promotions: Promotions) -> None:
    await promoted(authority, promotions)
    evidence = Evidence(authority.store, clock=authority.clock)
    why = partial(evidence.put, kind=EvidenceKind.COMMENT, body=b"it acts oddly", media_type="text/plain")
    await authority.epochs.stop(f"agent:{KEY.agent}", OLGA, why=why)
    await authority.epochs.resume(f"agent:{KEY.agent}", a_person("root", Role.OPERATOR))
    await promotions.set_ceiling(KEY.agent, Autonomy.PROPOSE, OLGA, "holiday season")
    lines = await promotions.history(KEY.agent, 3)
    told = [(each.word and each.word.word, each.stop and each.stop.stopped, each.why) for each in lines]
    assert told == [(Word.CEILING, None, "holiday season"), (None, False, None), (None, True, "it acts oddly")]
    (oldest,) = await promotions.history(KEY.agent, 10, lines[-1].number)
    assert oldest.word is not None
    assert (oldest.word.word, oldest.why) == (Word.PROMOTED, "four good weeks")
    assert await promotions.history("detector/token-cost", 10) == []


def resting_on(*agents: str) -> Plan:
    plan = a_plan()
    return plan.model_copy(update={"basis": plan.basis.model_copy(update={"agents": agents})})


async def test_invariant_2_a_demotion_among_claims_lets_none_through_after_its_commit(store: Store) -> None:
    """The order of the ledger's entries judges, as it does for stops."""
    authority = Authority(store, ManualClock())
    promotions = over(authority)
    await promoted(authority, promotions)
    await record(authority, outcome(5000, Credit.NOTHING, Grounds.MOOT))
    requests = []
    for n in range(24):
        plan = a_plan(f"pln_{n}", f"inc_{n}", [a_change(f"k{n}")])
        requests.append(await authority.request(plan, record=a_record(plan)))

    async def demote() -> None:
        await asyncio.sleep(0)
        async with store.write() as tx:
            await authority.trust.record(tx, [outcome(6000, Credit.FAILURE, Grounds.UNSAFE)])

    halves = [authority.claims.take(each) for each in requests]
    results = await asyncio.gather(*halves[:12], demote(), *halves[12:], return_exceptions=True)
    claimed = sum(isinstance(each, Taken) for each in results)
    refused = [each for each in results if isinstance(each, RefusedError)]
    assert claimed + len(refused) == 24, [each for each in results if not isinstance(each, Taken)]
    assert {each.reason for each in refused} <= {"epoch_moved"}
    kinds = [type(each).__name__ for each in await entries(store, EntryType.CLAIM, EntryType.AGENT_STANDING)]
    demoted = len(kinds) - 1 - kinds[::-1].index("StandingChanged")
    assert kinds[demoted:] == ["StandingChanged"], "no claim comes after it"
