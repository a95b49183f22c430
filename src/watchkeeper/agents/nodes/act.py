"""execute and undo: the plan's effects, and the way back when it did not help."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.adapters.change import partial
from watchkeeper.agents.effects import effect_all
from watchkeeper.agents.incidents import Request, Status
from watchkeeper.agents.records import Done, Noted
from watchkeeper.agents.remedies import new_remedy
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import Remedy, RemedyStatus
from watchkeeper.policies.claims import Refusal

CHANGED = "changed"
"""The adapter's word for a target that no longer holds our value: somebody else's now, so we touch nothing."""
HELD = (RemedyStatus.IN_FORCE, RemedyStatus.RELEASING)
STALE = (Refusal.EPOCH_MOVED, Refusal.POLICY_CHANGED, Refusal.BREACH_STALE, Refusal.APPROVAL_EXPIRED)
"""Refusals after which the plan is made anew: the world moved, authority did not say no."""


async def execute(watch: Watcher, state: WatchState) -> WatchState:
    plan = await watch.plan(state)
    await _acting(watch, state)
    try:
        phase = await effect_all(watch, state, plan, EffectPhase.APPLY, await _changes(watch, plan), _cycle(state))
    except RefusedError as refused:
        return _refused(watch, state, refused)
    last = phase.done.effects[-1].effect
    if last is Effect.UNKNOWN:
        return _retry(watch, state) if _may_retry(watch, state) else {"next": "escalate", "reason": "effect_unknown"}
    if phase.refused == Refusal.BREACH_UNKNOWN and _may_retry(watch, state):
        return _retry(watch, state)
    await _hold_remedies(watch, state, plan, phase.done)
    if last is Effect.FAILED:
        return {"next": "undo", "reason": "effect_failed"}
    if phase.refused and phase.refused != Refusal.MOOT:  # moot: what was done was enough
        return {"next": "undo", "reason": f"refused_{phase.refused}"}
    return {"next": "verify", "horizon": 0, "extra": 0}


def _refused(watch: Watcher, state: WatchState, refused: RefusedError) -> WatchState:
    if refused.reason == Refusal.MOOT:
        # on a relapse the rest of the remedy is still in force: it is held and given back, not forgotten
        return {"next": "hold"} if state.get("cycle", 0) else {"next": "close", "reason": "moot"}
    if refused.reason == Refusal.BREACH_UNKNOWN and _may_retry(watch, state):
        return _retry(watch, state)
    attempt = state.get("attempt", 0) + 1
    if refused.reason in STALE and attempt < watch.crew.timing.max_attempts and not state.get("cycle", 0):
        return {"next": "diagnose", "attempt": attempt}
    return {"next": "escalate", "reason": f"refused_{refused.reason}"}


def _may_retry(watch: Watcher, state: WatchState) -> bool:
    return state.get("extra", 0) < watch.crew.timing.reconcile_tries


def _retry(watch: Watcher, state: WatchState) -> WatchState:
    """Looks again soon, at an effect that is unknown, or at a breach that a restart or a late source left unread."""
    return {**watch.wait(watch.crew.timing.reconcile_s, "execute"), "extra": state.get("extra", 0) + 1}


def _cycle(state: WatchState) -> int:
    return state.get("cycle", 0)


async def _acting(watch: Watcher, state: WatchState) -> None:
    async def look() -> Noted:
        return Noted(at=watch.crew.now())

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        await watch.status(tx, Status.ACTING)

    await watch.steps.once(f"{key('execute', state)}/start", Noted, look, write)


async def _changes(watch: Watcher, plan: Plan) -> dict[int, Change]:
    """The plan's changes; on a re-application, from what was given back so far."""
    known = {remedy.step: remedy for remedy in await watch.crew.remedies.of_incident(watch.incident)}
    return {
        step: partial(change, known[step].given_back, 0.0) if step in known else change
        for step, change in enumerate(plan.changes)
    }


async def _hold_remedies(watch: Watcher, state: WatchState, plan: Plan, done: Done) -> None:
    """Every effect that succeeded is in force from now on; recorded once, with the phase's outcome."""
    cap_s = (await watch.decided(state)).record.decision.remedy_ttl_s
    ttl_s = plan.remedy_ttl_s if cap_s is None else min(plan.remedy_ttl_s, cap_s)

    async def look() -> Done:
        return done

    known = {remedy.step: remedy for remedy in await watch.crew.remedies.of_incident(watch.incident)}

    async def write(tx: AsyncConnection, result: Done) -> None:
        for step, outcome in enumerate(result.effects):
            if outcome.effect is not Effect.SUCCEEDED:
                continue
            old = known.get(step)
            if old is not None and old.status in HELD:
                again = {"status": RemedyStatus.IN_FORCE, "given_back": 0.0, "relapses": old.relapses + 1}
                await watch.crew.remedies.update(tx, old.model_copy(update=again), reason="relapse")
            else:
                relapses = 0 if old is None else old.relapses + 1
                made = new_remedy(plan, step, outcome.at, ttl_s, now=watch.crew.now(), relapses=relapses)
                await watch.crew.remedies.record(tx, made)

    await watch.steps.once(key("execute", state), Done, look, write)


async def undo(watch: Watcher, state: WatchState) -> WatchState:
    """Restores every field that still holds our value, the last change first; touches nothing that does not."""
    held = tuple(reversed(await watch.held()))
    reason = await _take_request(watch, state)
    if not held:
        return {"next": "escalate", "reason": reason}
    plan = await watch.plan(state)
    changes = {remedy.step: partial(remedy.change, remedy.given_back, 1.0) for remedy in held}
    undos = state.get("undos", 0)
    try:
        phase = await effect_all(watch, state, plan, EffectPhase.UNDO, changes, undos)
    except RefusedError as refused:
        return {"next": "escalate", "reason": f"undo_{refused.reason}"}
    for remedy, outcome in zip(held, phase.done.effects, strict=False):
        await _undone(watch, remedy, outcome)
    if phase.refused:
        return {"next": "escalate", "reason": f"undo_{phase.refused}"}
    if any(outcome.effect is Effect.UNKNOWN for outcome in phase.done.effects):
        tries = state.get("extra", 0) + 1
        if tries <= watch.crew.timing.reconcile_tries:
            return {**watch.wait(watch.crew.timing.reconcile_s, "undo"), "extra": tries, "reason": reason}
        return {"next": "escalate", "reason": "undo_unknown"}
    if any(_not_done(outcome) for outcome in phase.done.effects):
        if undos < _max_undos(plan):
            return {**watch.wait(watch.crew.timing.recheck_s, "undo"), "undos": undos + 1, "reason": reason}
        return {"next": "escalate", "reason": "undo_failed"}
    return {"next": "escalate", "reason": reason}


def _not_done(outcome: EffectOutcome) -> bool:
    """The target could not be asked, so it still holds our value: what is owed back stays owed."""
    return outcome.effect is Effect.FAILED and outcome.code != CHANGED


def _max_undos(plan: Plan) -> int:
    """How often an undo may be tried again: what the claim's bounds allow."""
    return (plan.release.max_relapses if plan.release else 0) + 1


async def _take_request(watch: Watcher, state: WatchState) -> str:
    """Why we undo; a person's request is taken up here, once."""
    incident = await watch.crew.incidents.get(watch.incident)
    asked = incident.request is Request.UNDO and incident.requested_by is not None
    reason = "undone_by_person" if asked else state.get("reason", "not_recovered")

    async def look() -> Noted:
        return Noted(at=watch.crew.now(), note=reason)

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        await watch.crew.incidents.answered(tx, watch.incident)
        await watch.status(tx, Status.UNDOING)

    return (await watch.steps.once(f"{key('undo', state)}/{reason}", Noted, look, write)).note


async def _undone(watch: Watcher, remedy: Remedy, outcome: EffectOutcome) -> None:
    if outcome.effect is Effect.UNKNOWN or _not_done(outcome):
        return
    status = RemedyStatus.UNDONE if outcome.effect is Effect.SUCCEEDED else RemedyStatus.LOST

    async def look() -> Noted:
        return Noted(at=watch.crew.now(), note=status)

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        changed = remedy.model_copy(update={"status": status, "given_back": 1.0})
        await watch.crew.remedies.update(tx, changed, reason="undo")

    await watch.steps.once(f"undo/{outcome.key}/remedy", Noted, look, write)
