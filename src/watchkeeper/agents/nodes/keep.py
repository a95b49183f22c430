"""hold and release: keep the remedy while the service is well, then give it back step by step.

A relapse is a missed service level while the detectors still see the trouble: a caller that is well again may be
busier than the remedy would have let it be. It re-applies the whole plan, through a new decision, and doubles the hold;
after `max_relapses` a person is called with the remedy still in force. A trouble that comes back when its incident is
already closed, but before it was away for `CALM_HOLDS` of the last hold, goes on counting in the next incident.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.adapters.change import partial
from watchkeeper.agents.effects import effect_all
from watchkeeper.agents.incidents import Status
from watchkeeper.agents.records import Noted
from watchkeeper.agents.remedies import give_back
from watchkeeper.agents.scores import scored
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect
from watchkeeper.core.plans import Plan, Release
from watchkeeper.core.remedies import RemedyStatus
from watchkeeper.core.sli import SliStatus
from watchkeeper.core.trust import Credit, Grounds, TrustOutcome
from watchkeeper.policies.claiming.claims import Also

CALM_HOLDS = 3


def hold_for(terms: Release, relapses: int) -> timedelta:
    """How long to hold after so many relapses. It grows no further than the last relapse that is not a person's."""
    return timedelta(seconds=terms.hold_s * 2 ** min(relapses, terms.max_relapses))


def calm_for(terms: Release, relapses: int) -> timedelta:
    """How long a trouble must stay away after its incident was closed, to be a new one when it comes again."""
    return CALM_HOLDS * hold_for(terms, relapses)


async def hold(watch: Watcher, state: WatchState) -> WatchState:
    plan = await watch.plan(state)
    started = await _noted(watch, f"{key('hold', state)}/start", Status.HOLDING)
    if _breached(watch, plan):
        return {"next": "undo", "reason": "relapsed_under_remedy"}
    ends = min((remedy.expires for remedy in await watch.held()), default=None)
    if plan.release is None:
        return await _keep(watch, state, ends)
    relapses = state.get("relapses", 0)
    if ends is not None and watch.crew.now() >= ends:
        return {"next": "release", "given": 0}
    if relapses and relapses >= plan.release.max_relapses:
        return {"next": "escalate", "reason": "relapsed_too_often"}
    due = started.at + hold_for(plan.release, relapses)
    now, due = watch.crew.now(), due if ends is None else min(due, ends)
    if now < due:
        return watch.wait_until(min(due, now + timedelta(seconds=watch.crew.timing.recheck_s)), "hold")
    return {"next": "release", "given": 0}


async def _keep(watch: Watcher, state: WatchState, ends: datetime | None) -> WatchState:
    """Nothing is given back: what is held stays, watched and open to a person's undo, until its time is over."""
    now = watch.crew.now()
    if ends is not None and now < ends:
        return watch.wait_until(min(ends, now + timedelta(seconds=watch.crew.timing.recheck_s)), "hold")
    held = await watch.held()

    async def look() -> Noted:
        return Noted(at=now)

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        for remedy in held:
            kept = remedy.model_copy(update={"status": RemedyStatus.KEPT})
            await watch.crew.remedies.update(tx, kept, "kept")

    if held:
        await watch.steps.once(f"{key('hold', state)}/kept", Noted, look, write)
    return {"next": "close", "reason": "recovered"}


async def release(watch: Watcher, state: WatchState) -> WatchState:
    plan = await watch.plan(state)
    terms, given = plan.release, state.get("given", 0)
    if terms is None:
        return {"next": "close", "reason": "recovered"}
    if given and _breached(watch, plan) and not await watch.crew.all_gone(watch.incident):
        return await _relapse(watch, state)
    if given == len(terms.steps):
        return {"next": "close", "reason": "recovered"}
    try:
        effects = await _give_back(watch, state, plan, terms, given)
    except RefusedError as refused:
        return {"next": "escalate", "reason": f"release_{refused.reason}"}
    if effects is Effect.UNKNOWN:
        return {"next": "escalate", "reason": "release_unknown"}
    if effects is Effect.FAILED:
        return {"next": "escalate", "reason": "release_failed"}
    return {**watch.wait(terms.watch_s, "release"), "given": given + 1}


async def _give_back(watch: Watcher, state: WatchState, plan: Plan, terms: Release, given: int) -> Effect:
    """One release step on every remedy still held, the last made first."""
    await _noted(watch, f"{key('release', state)}/{given}", Status.RELEASING)
    held = {remedy.step: remedy for remedy in reversed(await watch.held())}
    factor = terms.steps[given]
    changes = {step: partial(remedy.change, remedy.given_back, factor) for step, remedy in held.items()}
    n = state.get("cycle", 0) * len(terms.steps) + given
    deed = await watch.deed(state)

    def also(step: int) -> Also:
        return scored(watch.crew.trust, deed, step, give_back(watch.crew.remedies, held[step], factor, "release"))

    phase = await effect_all(watch, state, plan, EffectPhase.RELEASE, changes, n, also)
    effects = [outcome.effect for outcome in phase.done.effects]
    if phase.refused:
        return Effect.UNKNOWN
    return next((e for e in (Effect.UNKNOWN, Effect.FAILED) if e in effects), Effect.SUCCEEDED)


async def _relapse(watch: Watcher, state: WatchState) -> WatchState:
    failed = Credit.FAILURE, Grounds.RELAPSED, watch.crew.now()
    outcomes = (await watch.deed(state)).of_remediator(await watch.done_steps(state), *failed)
    await _noted(watch, f"{key('relapse', state)}", Status.ACTING, outcomes)
    return {
        "next": "decide",
        "cycle": state.get("cycle", 0) + 1,
        "relapses": state.get("relapses", 0) + 1,
        "horizon": 0,
        "extra": 0,
        "given": 0,
    }


async def _noted(watch: Watcher, step: str, status: Status, outcomes: tuple[TrustOutcome, ...] = ()) -> Noted:
    async def look() -> Noted:
        return Noted(at=watch.crew.now())

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        await watch.status(tx, status)
        await watch.crew.trust.record(tx, outcomes)

    return await watch.steps.once(step, Noted, look, write)


def _breached(watch: Watcher, plan: Plan) -> bool:
    return watch.crew.read(plan.verification.sli).status is SliStatus.BREACHED
