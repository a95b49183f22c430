"""Of each step that a plan did: whether it stays, and why."""

from __future__ import annotations

import pytest
from tests.testbed.authority import START, Authority, a_plan, a_remedy, an_operator

from watchkeeper.core.actions import ActionKind
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect, NotUndone, Stays
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.policies.claiming.leftover import Trace, Tried, left_over, stays
from watchkeeper.store.engine import Store

DONE, OPEN = Tried("succeeded", "http_200"), Tried("unknown", "timeout")
HELD = a_remedy(a_plan(), START)
LOST = HELD.model_copy(update={"status": RemedyStatus.LOST})
UNDONE = HELD.model_copy(update={"status": RemedyStatus.UNDONE})


@pytest.mark.parametrize(
    ("kind", "trace", "why"),
    [
        (ActionKind.REVERSIBLE, Trace(None, None, "", None), None),
        (ActionKind.REVERSIBLE, Trace(Tried("failed", "not_sent"), None, "", None), None),
        (ActionKind.REVERSIBLE, Trace(OPEN, None, "", None), (Stays.UNKNOWN, "timeout")),
        (ActionKind.REVERSIBLE, Trace(DONE, None, "", HELD), None),
        (ActionKind.REVERSIBLE, Trace(DONE, DONE, "", UNDONE), None),
        (ActionKind.REVERSIBLE, Trace(DONE, Tried("failed", "http_500"), "", HELD), (Stays.FAILED, "http_500")),
        (ActionKind.REVERSIBLE, Trace(DONE, OPEN, "", HELD), (Stays.UNKNOWN, "timeout")),
        (ActionKind.REVERSIBLE, Trace(DONE, None, "stopped", HELD), (Stays.REFUSED, "stopped")),
        (ActionKind.REVERSIBLE, Trace(DONE, Tried("failed", "changed"), "", LOST), (Stays.CHANGED, "")),
        (ActionKind.SELF_RESTORING, Trace(DONE, None, "", None), (Stays.NO_WAY_BACK, "self_restoring")),
        (ActionKind.SELF_RESTORING, Trace(Tried("failed", "not_sent"), None, "", None), None),
        (ActionKind.IRREVERSIBLE, Trace(OPEN, None, "", None), (Stays.UNKNOWN, "timeout")),
    ],
)
def test_what_stays_and_why(kind: ActionKind, trace: Trace, why: tuple[Stays, str] | None) -> None:
    assert stays(kind, trace) == why


async def test_an_undo_that_a_stop_refused_is_read_from_the_rows(store: Store) -> None:
    authority, plan = Authority(store), a_plan()
    await authority.claims.settle(await authority.taken(plan), Effect.SUCCEEDED, "http_200")
    async with store.write() as tx:
        await authority.remedies.record(tx, a_remedy(plan, authority.clock.now()))
        assert await left_over(tx, plan) == ()
    await authority.epochs.stop("all", an_operator())
    with pytest.raises(RefusedError):
        await authority.claims.take(await authority.request(plan, phase=EffectPhase.UNDO, breach=None))
    action = plan.actions[0]
    said = NotUndone(step=0, intent=action.intent, target=action.target, why=Stays.REFUSED, said="stopped")
    async with store.read() as tx:
        assert await left_over(tx, plan) == (said,)
