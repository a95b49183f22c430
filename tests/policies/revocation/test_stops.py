"""`stop --then-undo` at the claim: an undo, of what was listed, past the stops that stood, and nothing more."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import insert
from tests.testbed.authority import Authority, a_change, a_person, a_plan, a_remedy, an_operator, entries
from tests.testbed.stores import tampering

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.claims import Claim, EffectPhase, EpochSeen
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import EntryType, StopRecorded
from watchkeeper.core.errors import ForbiddenError, LedgerError, NotFoundError, RefusedError
from watchkeeper.core.ids import ActionKey, ClaimId, DecisionId, OrderId
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.policies.claiming.claims import Taken
from watchkeeper.policies.revocation.epochs import StopReport
from watchkeeper.policies.revocation.stops import Asked
from watchkeeper.policies.tables import effect_claim, stop_order, stop_undo
from watchkeeper.store.engine import Store

HELD = a_plan("pln_held", "inc_held", [a_change("k1"), a_change("k2")])
OTHER = a_plan("pln_other", "inc_other", [a_change("k3")])
OLGA, OTTO = an_operator("olga"), an_operator("otto")
GIVEN = OrderId("ord_given")


@pytest.fixture
async def authority(store: Store) -> Authority:
    """Two remedies of one plan in force, and one of another."""
    made = Authority(store, ManualClock())
    for plan in (HELD, OTHER):
        for step in range(len(plan.actions)):
            await made.claims.settle(await made.taken(plan, step=step), Effect.SUCCEEDED, "http_200")
            async with store.write() as tx:
                await made.remedies.record(tx, a_remedy(plan, made.clock.now(), step))
    return made


async def ordered(authority: Authority, scope: str = "all", by: Any = OLGA) -> StopReport:
    """The stop, and the order to one incident that it came down to."""
    report = await authority.epochs.stop(scope, by, then_undo=True)
    assert report.undo is not None
    await given(authority, report.undo)
    return report


async def given(authority: Authority, stop: OrderId, order: OrderId = GIVEN) -> None:
    async with authority.store.write() as tx:
        await authority.stops.ask(tx, stop, Asked(order=order, incident=HELD.incident, at=authority.clock.now()))


async def refusal(authority: Authority, plan: Plan = HELD, **changes: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(await authority.request(plan, **{"order": GIVEN, **changes}))
    return caught.value.reason


async def test_invariant_2_the_order_lets_its_undo_through_and_nothing_else(authority: Authority) -> None:
    await ordered(authority)
    claim = await authority.taken(HELD, phase=EffectPhase.UNDO, order=GIVEN)
    assert claim.order == GIVEN
    assert await authority.claims.still_valid(claim)
    assert await refusal(authority, phase=EffectPhase.RELEASE) == "out_of_bounds"
    assert await refusal(authority, phase=EffectPhase.APPLY) == "out_of_bounds"
    for phase in EffectPhase:
        assert await refusal(authority, phase=phase, order=None, n=1) == "stopped"
    assert await refusal(authority, phase=EffectPhase.UNDO, order=OrderId("ord_guessed")) == "stopped"


async def test_invariant_2_the_order_covers_what_the_stop_listed_and_no_more(authority: Authority) -> None:
    report = await ordered(authority, "target:litellm:main/key/k1")
    assert [remedy.step for remedy in report.half_done] == [0]
    await authority.epochs.stop("all", OLGA)
    assert await refusal(authority, phase=EffectPhase.UNDO) == "stopped", "a later stop ends it"
    again = await authority.epochs.stop("target:litellm:main/key/k1", OLGA, then_undo=True)
    assert again.undo is not None
    await given(authority, again.undo, OrderId("ord_again"))
    order = OrderId("ord_again")
    await authority.taken(HELD, phase=EffectPhase.UNDO, order=order)  # the stop of all stood when it was given
    assert await refusal(authority, phase=EffectPhase.UNDO, order=order, step=1) == "stopped"
    assert await refusal(authority, OTHER, phase=EffectPhase.UNDO, order=order) == "stopped"


@pytest.mark.parametrize("scope", ["all", "environment:prod", "service:prod/chat", "target:litellm:main/key/k1"])
async def test_invariant_2_a_later_stop_of_another_person_ends_it_before_the_claim_and_before_the_send(
    authority: Authority, scope: str
) -> None:
    await ordered(authority)
    claim = await authority.taken(HELD, phase=EffectPhase.UNDO, order=GIVEN)
    await authority.epochs.stop(scope, OTTO)
    assert not await authority.claims.still_valid(claim)
    if scope.startswith("target"):
        await authority.taken(HELD, phase=EffectPhase.UNDO, order=GIVEN, step=1)
    else:
        assert await refusal(authority, phase=EffectPhase.UNDO, step=1) == "stopped"


async def test_a_stop_of_something_else_and_a_lifted_one_do_not_end_it(authority: Authority) -> None:
    await ordered(authority)
    await authority.epochs.stop("environment:staging", OTTO)
    await authority.taken(HELD, phase=EffectPhase.UNDO, order=GIVEN)
    await authority.epochs.resume("all", OTTO)
    await authority.taken(HELD, phase=EffectPhase.UNDO, order=GIVEN, step=1)


async def test_the_order_survives_a_restart_and_is_in_the_ledger_under_the_persons_name(authority: Authority) -> None:
    report = await ordered(authority)
    recorded = (await entries(authority.store, EntryType.STOP))[-1]
    assert isinstance(recorded, StopRecorded)
    assert (recorded.by, recorded.undo) == (OLGA, report.undo)
    assert {(each.plan, each.step) for each in recorded.half_done} == {(HELD.id, 0), (HELD.id, 1), (OTHER.id, 0)}
    url = authority.store.url.render_as_string(hide_password=False)
    again = Authority(Store(url), authority.clock, writer="w2")
    await again.taken(HELD, phase=EffectPhase.UNDO, order=GIVEN)
    await again.store.close()


async def test_what_is_in_flight_at_the_stop_is_covered_if_it_turns_out_to_be_done(authority: Authority) -> None:
    flying = a_plan("pln_flying", "inc_flying", [a_change("k9")])
    claim = await authority.taken(flying)
    report = await ordered(authority)
    assert [each.id for each in report.in_flight] == [claim.id]
    assert await refusal(authority, flying, phase=EffectPhase.UNDO) == "target_busy", "not before it is settled"
    await authority.claims.settle(claim, Effect.SUCCEEDED, "observed")
    await authority.taken(flying, phase=EffectPhase.UNDO, order=GIVEN)


async def test_only_a_person_who_may_stop_orders_an_undo_under_it(authority: Authority) -> None:
    script = a_person("script", Role.OPERATOR, kind=PrincipalKind.SERVICE)
    daemon = a_person("daemon", kind=PrincipalKind.DAEMON)
    for nobody in (script, daemon, a_person("eve", Role.APPROVER)):
        with pytest.raises(ForbiddenError):
            await authority.epochs.stop("all", nobody, then_undo=True)
    assert await authority.epochs.status() == (), "what is forbidden stops nothing either"


async def test_where_nothing_stands_half_done_there_is_no_order(authority: Authority) -> None:
    report = await authority.epochs.stop("environment:staging", OLGA, then_undo=True)
    assert report.undo is None
    with pytest.raises(NotFoundError):
        await authority.stops.get(OrderId("ord_none"))


async def test_adversary_an_order_that_was_written_beside_the_ledger_undoes_nothing(authority: Authority) -> None:
    report = await ordered(authority, "target:litellm:main/key/k1")
    assert report.undo is not None
    order = await authority.stops.get(report.undo)
    await authority.epochs.stop("all", OTTO)
    seen = await authority.epochs.seen(("all", "target:litellm:main/key/k1"))
    for name, changes in (
        ("ord_stands", {"stands": seen, "order": OrderId("ord_stands")}),
        ("ord_wider", {"stands": seen, "covers": (order.covers[0].model_copy(update={"step": 1}),)}),
        ("ord_other", {"stands": seen, "by": OTTO}),
    ):
        made = order.model_copy(update=changes)
        async with tampering(authority.store) as tx:
            row = {"id": name, "at": made.at, "body": canonical_model(made)}
            await tx.execute(insert(stop_order).values(**row))
            tied = {"order_id": f"{name}_1", "stop": name, "incident": HELD.incident, "at": made.at}
            await tx.execute(insert(stop_undo).values(**tied))
        sub = OrderId(f"{name}_1")
        assert await refusal(authority, phase=EffectPhase.UNDO, order=sub) == "stopped", name
        assert await refusal(authority, phase=EffectPhase.UNDO, order=sub, step=1) == "stopped", name


async def test_an_order_is_written_once(authority: Authority) -> None:
    await ordered(authority)
    for statement in (stop_order.delete(), stop_undo.update().values(stop="x"), stop_order.update().values(body=b"")):
        with pytest.raises(LedgerError, match="refuses to change the record"):
            async with authority.store.write() as tx:
                await tx.execute(statement)


async def test_invariant_2_what_is_unknown_is_never_told_as_settled(authority: Authority) -> None:
    flying = await authority.taken(a_plan("pln_f", "inc_f", [a_change("k9")]))
    lost = await authority.taken(a_plan("pln_l", "inc_l", [a_change("k8")]))
    await authority.claims.settle(lost, Effect.UNKNOWN, "timeout")
    assert (await authority.epochs.standing("environment:prod")).stopped is False
    await authority.epochs.stop("environment:prod", OLGA)
    standing = await authority.epochs.standing("environment:prod")
    assert (standing.stopped, standing.epoch) == (True, 1)
    assert {(each.claim.id, each.unknown) for each in standing.unsettled} == {(flying.id, False), (lost.id, True)}
    assert (await authority.epochs.standing("service:prod/search")).unsettled == ()
    await authority.claims.settle(flying, Effect.FAILED, "authority_lost")
    taken = await authority.claims.takeover(lost.key, "w9")
    assert not isinstance(taken, Taken), "its holder may still be at it"


async def test_a_stop_never_fails_for_the_number_of_what_it_finds(authority: Authority) -> None:
    many = [a_plan(f"pln_m{n}", f"inc_m{n}", [a_change(f"m{n}")]) for n in range(220)]
    async with authority.store.write() as tx:
        for plan in many:
            claim = (await authority.request(plan)).model_copy()
            row = {
                "key": claim.key, "id": f"clm_{plan.id}", "incident": plan.incident, "plan": plan.id, "step": 0,
                "phase": "apply", "runbook": plan.runbook.name, "environment": "prod", "service": "chat",
                "target": f"t{plan.id}", "fence": 1, "state": "open", "taken": authority.clock.now(),
                "not_after": authority.clock.now(), "body": canonical_model(_claim_of(plan, claim.epochs)),
            }  # fmt: skip
            await tx.execute(insert(effect_claim).values(**row))
    report = await authority.epochs.stop("all", OLGA, then_undo=True)
    assert (len(report.in_flight), report.not_covered) == (220, 23)
    recorded = (await entries(authority.store, EntryType.STOP))[-1]
    assert isinstance(recorded, StopRecorded)
    assert (len(recorded.half_done), recorded.not_listed) == (200, 23)


def _claim_of(plan: Plan, epochs: tuple[EpochSeen, ...]) -> Claim:
    now = plan.made
    return Claim(
        id=ClaimId(f"clm_{plan.id}"), key=ActionKey(f"{plan.id}/0/apply"), incident=plan.incident, plan=plan.id,
        plan_hash=plan.plan_hash, step=0, phase=EffectPhase.APPLY, decision=DecisionId("dec_1"), approval=None,
        policy_version="sha256:p", epochs=epochs, holder="w", fence=1, taken=now, not_after=now,
    )  # fmt: skip
