"""Stops: what they forbid, what they list, how they are lifted (invariant 2)."""

from __future__ import annotations

import pytest
from tests.testbed.authority import Authority, a_change, a_person, a_plan, a_remedy, an_operator, entries, scopes_of

from watchkeeper.core.claims import EffectPhase, EpochSeen
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.consents import HalfDone
from watchkeeper.core.entries import EntryType, StopRecorded
from watchkeeper.core.errors import ForbiddenError, InputError, RefusedError
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.principals import PrincipalKind, Role
from watchkeeper.store.engine import Store

PLAN = a_plan()
OLGA = an_operator()


@pytest.fixture
def authority(store: Store) -> Authority:
    return Authority(store, ManualClock())


@pytest.mark.parametrize("scope", scopes_of(PLAN))
async def test_invariant_2_a_stop_of_any_scope_forbids_apply_release_and_undo(authority: Authority, scope: str) -> None:
    await authority.epochs.stop(scope, OLGA)
    for phase in EffectPhase:
        with pytest.raises(RefusedError) as caught:
            await authority.claims.take(await authority.request(PLAN, phase=phase))
        assert caught.value.reason == "stopped"
    assert await authority.claims.open_claims() == ()


async def test_invariant_2_a_decision_from_before_the_stop_stays_void_after_it_is_lifted(authority: Authority) -> None:
    before = await authority.request(PLAN)
    await authority.epochs.stop("all", OLGA)
    await authority.epochs.resume("all", OLGA)
    with pytest.raises(RefusedError) as caught:
        await authority.claims.take(before)
    assert caught.value.reason == "epoch_moved"
    await authority.taken(PLAN)


async def test_invariant_2_epoch_is_read_again_before_the_send(authority: Authority) -> None:
    claim = await authority.taken(PLAN)
    await authority.epochs.stop("agent:remediator/other", OLGA)
    assert await authority.claims.still_valid(claim)
    await authority.epochs.stop("target:litellm:main/key/k1", OLGA)
    assert not await authority.claims.still_valid(claim)
    await authority.epochs.resume("target:litellm:main/key/k1", OLGA)
    assert not await authority.claims.still_valid(claim)


async def test_invariant_2_a_stop_lists_what_is_in_flight_and_what_stands_half_done(authority: Authority) -> None:
    held = a_plan("pln_2", "inc_2", [a_change("k2")])
    await authority.claims.settle(await authority.taken(held), Effect.SUCCEEDED, "http_200")
    remedy = a_remedy(held, authority.clock.now())
    async with authority.store.write() as tx:
        await authority.remedies.record(tx, remedy)
    flying = await authority.taken(PLAN)
    unknown = await authority.taken(a_plan("pln_3", "inc_3", [a_change("k3")]))
    await authority.claims.settle(unknown, Effect.UNKNOWN, "timeout")
    elsewhere = await authority.epochs.stop("environment:staging", OLGA)
    assert (elsewhere.in_flight, elsewhere.half_done) == ((), ())
    report = await authority.epochs.stop("environment:prod", OLGA)
    assert {claim.id for claim in report.in_flight} == {flying.id, unknown.id}
    assert report.half_done == (remedy,)
    recorded = (await entries(authority.store, EntryType.STOP))[-1]
    assert recorded == StopRecorded(
        scope="environment:prod",
        stopped=True,
        epoch=EpochSeen(scope="environment:prod", epoch=1),
        by=OLGA,
        in_flight=tuple(claim.id for claim in report.in_flight),
        half_done=(
            HalfDone(incident=PLAN.incident, plan=PLAN.id, step=0),
            HalfDone(incident=held.incident, plan=held.id, step=0, remedy=remedy.id),
            HalfDone(incident=unknown.incident, plan=unknown.plan, step=0),
        ),
    )


async def test_invariant_2_a_stop_survives_a_restart(authority: Authority) -> None:
    assert await authority.epochs.status() == ()
    await authority.epochs.stop("all", OLGA)
    await authority.epochs.stop("all", OLGA)
    url = authority.store.url.render_as_string(hide_password=False)
    again = Authority(Store(url), authority.clock, writer="w2")
    (status,) = await again.epochs.status()
    assert (status.scope, status.epoch, status.stopped, status.changed_by) == ("all", 2, True, "olga")
    assert await again.epochs.seen(("all", "agent:x")) == (
        EpochSeen(scope="agent:x", epoch=0),
        EpochSeen(scope="all", epoch=2),
    )
    with pytest.raises(RefusedError):
        await again.claims.take(await again.request(PLAN))
    await again.store.close()


async def test_who_may_stop_and_who_may_lift(authority: Authority) -> None:
    daemon = a_person("daemon", kind=PrincipalKind.DAEMON)
    script = a_person("script", Role.OPERATOR, kind=PrincipalKind.SERVICE)
    with pytest.raises(ForbiddenError):
        await authority.epochs.stop("all", a_person("eve", Role.VIEWER, Role.APPROVER))
    await authority.epochs.stop("all", script)
    await authority.epochs.stop("all", daemon)
    for nobody in (daemon, script, a_person("eve", Role.VIEWER)):
        with pytest.raises(ForbiddenError):
            await authority.epochs.resume("all", nobody)
    assert (await authority.epochs.resume("all", OLGA)).epoch == 2


@pytest.mark.parametrize(
    "scope",
    [
        "", "al", "everything", "service:", "service:a b", "target:a/b/" + "x" * 620,
        "service:chat", "service:prod/", "agent:bot", "action:restart", "target:litellm:main/key",
    ],
)  # fmt: skip
async def test_a_scope_that_names_nothing_is_refused(authority: Authority, scope: str) -> None:
    with pytest.raises(InputError):
        await authority.epochs.stop(scope, OLGA)


async def test_what_was_stopped_under_a_shorter_name_can_still_be_lifted(authority: Authority) -> None:
    assert (await authority.epochs.resume("service:chat", OLGA)).scope == "service:chat"
