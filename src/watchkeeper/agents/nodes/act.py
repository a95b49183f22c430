"""execute and undo: the plan's effects, and the way back when it did not help.

Neither says what may be done: each effect is the executor's, under a claim of its own. An undo restores what still
holds our value and touches nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.adapters.change import partial
from watchkeeper.agents.effects import effect_all
from watchkeeper.agents.incidents import Status
from watchkeeper.agents.records import Done, Noted
from watchkeeper.agents.remedies import CHANGED, give_back, put_in_force, remedy_ttl_s
from watchkeeper.agents.scores import Deed, scored, undone
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.actions import Change
from watchkeeper.core.claims import EffectPhase
from watchkeeper.core.errors import RefusedError
from watchkeeper.core.ids import OrderId
from watchkeeper.core.outcomes import Effect, EffectOutcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import Remedy
from watchkeeper.policies.claiming.claims import Also, Refusal

STALE = (
    Refusal.EPOCH_MOVED,
    Refusal.POLICY_CHANGED,
    Refusal.CAP_REACHED,
    Refusal.OUTSIDE_WINDOW,
    Refusal.FROZEN,
    Refusal.BREACH_STALE,
    Refusal.APPROVAL_EXPIRED,
)
"""Refusals after which the plan is made anew: the world moved, authority did not say no."""


async def execute(watch: Watcher, state: WatchState) -> WatchState:
    plan = await watch.plan(state)
    await _acting(watch, state)
    known = {remedy.step: remedy for remedy in await watch.crew.remedies.of_incident(watch.incident)}
    deed = await watch.deed(state)
    ttl_s = remedy_ttl_s(plan, deed.record)

    def also(step: int) -> Also:
        force = put_in_force(watch.crew.remedies, plan, step, ttl_s, known.get(step), watch.crew.now)
        return scored(watch.crew.trust, deed, step, force)

    try:
        phase = await effect_all(watch, state, plan, EffectPhase.APPLY, _changes(plan, known), _cycle(state), also)
    except RefusedError as refused:
        return _refused(watch, state, refused)
    last = phase.done.effects[-1].effect
    if last is Effect.UNKNOWN:
        return _retry(watch, state) if _may_retry(watch, state) else {"next": "escalate", "reason": "effect_unknown"}
    if phase.refused == Refusal.BREACH_UNKNOWN and _may_retry(watch, state):
        return _retry(watch, state)
    await _done(watch, state, phase.done)
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
    own = attempt - state.get("edits", 0)  # what people edited is not held against us
    if refused.reason in STALE and own < watch.crew.timing.max_attempts and not state.get("cycle", 0):
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


def _changes(plan: Plan, known: Mapping[int, Remedy]) -> dict[int, Change]:
    """The plan's changes; on a re-application, from what was given back so far."""
    return {
        step: partial(change, known[step].given_back, 0.0) if step in known else change
        for step, change in enumerate(plan.changes)
    }


async def _done(watch: Watcher, state: WatchState, done: Done) -> None:
    """How the apply of this cycle ended."""

    async def look() -> Done:
        return done

    async def write(tx: AsyncConnection, result: Done) -> None:
        return None

    await watch.steps.once(key("execute", state), Done, look, write)


async def _to_give_back(watch: Watcher, state: WatchState) -> dict[int, Remedy]:
    """What is held, the last change first; under an order that goes with a stop, only what that stop listed."""
    order = state.get("order", "")
    covered = await watch.crew.stops.covered(OrderId(order)) if order else None
    steps = None if covered is None else {(each.plan, each.step) for each in covered}
    return {
        each.step: each for each in reversed(await watch.held()) if steps is None or (each.plan, each.step) in steps
    }


async def undo(watch: Watcher, state: WatchState) -> WatchState:
    """Restores every field that still holds our value, the last change first; touches nothing that does not.

    A person's order has claims and tries of its own: what failed before does not stand in its way. One that is part of
    `stop --then-undo` restores what that stop listed, and nothing else.
    """
    held = await _to_give_back(watch, state)
    deed = await watch.deed(state) if held else None
    reason = await _begin_undo(watch, state, deed, held)
    if deed is None:
        return {"next": "escalate", "reason": reason}
    plan = deed.plan
    changes = {step: partial(remedy.change, remedy.given_back, 1.0) for step, remedy in held.items()}

    def also(step: int) -> Also:
        return scored(watch.crew.trust, deed, step, give_back(watch.crew.remedies, held[step], 1.0, "undo"))

    try:
        phase = await effect_all(watch, state, plan, EffectPhase.UNDO, changes, state.get("undos", 0), also)
    except RefusedError as refused:
        return {"next": "escalate", "reason": f"undo_{refused.reason}"}
    if phase.refused:
        return {"next": "escalate", "reason": f"undo_{phase.refused}"}
    return _after_undo(watch, state, plan, phase.done, reason)


def _after_undo(watch: Watcher, state: WatchState, plan: Plan, done: Done, reason: str) -> WatchState:
    if any(outcome.effect is Effect.UNKNOWN for outcome in done.effects):
        tries = state.get("extra", 0) + 1
        if tries <= watch.crew.timing.reconcile_tries:
            return {**watch.wait(watch.crew.timing.reconcile_s, "undo"), "extra": tries, "reason": reason}
        return {"next": "escalate", "reason": "undo_unknown"}
    if any(_not_done(outcome) for outcome in done.effects):
        undos = state.get("undos", 0)
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


async def _begin_undo(watch: Watcher, state: WatchState, deed: Deed | None, held: Iterable[int]) -> str:
    """Why we undo. A person's order is taken up here, once, and is then no longer asked for."""
    order = state.get("order", "")
    reason = "undone_by_person" if order else state.get("reason", "not_recovered")

    async def look() -> Noted:
        return Noted(at=watch.crew.now(), note=reason)

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        if order:
            await watch.crew.incidents.answered(tx, watch.incident, OrderId(order))
        if deed is not None:
            await watch.crew.trust.record(tx, undone(deed, held, noted.note, noted.at))
        await watch.status(tx, Status.UNDOING)

    step = f"undo/{order}" if order else f"{key('undo', state)}/{reason}"
    return (await watch.steps.once(step, Noted, look, write)).note
