"""verify: did the service level recover, is what was restarted back, and was nobody else harmed?

Read at each horizon; the last one decides. A breached guard undoes at once. Too little traffic is waited for again a
bounded number of times and is never taken for recovery.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.incidents import Status
from watchkeeper.agents.records import Checked
from watchkeeper.agents.remediator.restored import judged, returns
from watchkeeper.agents.scores import verified
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.entries import EntryType
from watchkeeper.core.outcomes import Outcome, Recovery
from watchkeeper.core.plans import Plan
from watchkeeper.core.sli import SliStatus


async def verify(watch: Watcher, state: WatchState) -> WatchState:
    plan = await watch.plan(state)
    horizons = plan.verification.horizons_s
    horizon, extra = state.get("horizon", 0), state.get("extra", 0)
    wait_s = horizons[horizon] + extra * plan.verification.sli.window_s
    due = await watch.applied_at(state) + timedelta(seconds=wait_s)
    if watch.crew.now() < due:
        return watch.wait_until(due, "verify")
    checked = await _check(watch, state, plan, wait_s)
    if checked.guard_breached:
        return {"next": "undo", "reason": "guard_breached"}
    if horizon + 1 < len(horizons):
        return {"next": "verify", "horizon": horizon + 1}
    match checked.outcome.recovery:
        case Recovery.RECOVERED:
            return {"next": "hold"}
        case Recovery.INCONCLUSIVE if extra < watch.crew.timing.inconclusive_extensions:
            return {"next": "verify", "extra": extra + 1}
        case recovery:
            return {"next": "undo", "reason": str(recovery)}


async def _check(watch: Watcher, state: WatchState, plan: Plan, horizon_s: float) -> Checked:
    deed, steps = await watch.deed(state), await watch.done_steps(state)
    last = state.get("horizon", 0) + 1 == len(plan.verification.horizons_s)

    async def look() -> Checked:
        checked = read_outcome(watch, plan, horizon_s)
        returned = await returns(watch.crew.adapters, plan, steps)
        outcome = checked.outcome.model_copy(
            update={
                "recovery": judged(checked.outcome.recovery, returned, horizon_s),
                "unrestored": tuple(each.step for each in returned if not each.back),
            }
        )
        return checked.model_copy(update={"outcome": outcome})

    async def write(tx: AsyncConnection, checked: Checked) -> None:
        recovery, at = checked.outcome.recovery, checked.outcome.at
        await watch.crew.trust.record(tx, verified(deed, steps, recovery, at, harmed=checked.guard_breached, last=last))
        await watch.append(tx, EntryType.OUTCOME, checked.outcome)
        await watch.status(tx, Status.VERIFYING)

    step = f"{key('verify', state)}/{state.get('horizon', 0)}/{state.get('extra', 0)}"
    return await watch.steps.once(step, Checked, look, write)


def read_outcome(watch: Watcher, plan: Plan, horizon_s: float) -> Checked:
    """The plan's indicator and guards as they are now."""
    sli = watch.crew.read(plan.verification.sli)
    guards = tuple(watch.crew.read(guard) for guard in plan.verification.guards)
    outcome = Outcome(
        incident=watch.incident,
        plan=plan.id,
        recovery=judge(sli.status, tuple(guard.status for guard in guards)),
        horizon_s=horizon_s,
        sli=sli,
        guards=guards,
        at=watch.crew.now(),
    )
    return Checked(outcome=outcome, guard_breached=any(g.status is SliStatus.BREACHED for g in guards))


def judge(sli: SliStatus, guards: tuple[SliStatus, ...]) -> Recovery:
    """Recovered only if the indicator and every guard are known to be met."""
    if sli is SliStatus.BREACHED or SliStatus.BREACHED in guards:
        return Recovery.NOT_RECOVERED
    if sli is SliStatus.MET and all(guard is SliStatus.MET for guard in guards):
        return Recovery.RECOVERED
    return Recovery.INCONCLUSIVE
