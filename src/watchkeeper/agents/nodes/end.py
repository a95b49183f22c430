"""escalate, watch and close: a person is told, the trouble is watched until it is gone, and the story ends."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.agents.incidents import Incident, Status
from watchkeeper.agents.nodes.keep import calm_for
from watchkeeper.agents.nodes.untreated import look_untreated
from watchkeeper.agents.outbox import Notice
from watchkeeper.agents.records import Noted, Proposed
from watchkeeper.agents.state import WatchState
from watchkeeper.agents.tale import ending
from watchkeeper.agents.watcher import Watcher, key
from watchkeeper.core.entries import EntryType, Escalated
from watchkeeper.core.outcomes import NotUndone
from watchkeeper.core.plans import Release
from watchkeeper.core.remedies import Remedy
from watchkeeper.policies.claiming.leftover import left_over


async def escalate(watch: Watcher, state: WatchState) -> WatchState:
    reason = state.get("reason", "unknown")
    incident = await watch.crew.incidents.get(watch.incident)
    held = await watch.held()
    proposed = await watch.steps.recorded(f"propose/{state.get('attempt', 0)}", Proposed)
    plan = None if proposed is None else proposed.plan

    async def look() -> Noted:
        return Noted(at=watch.crew.now(), note=reason)

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        data = Escalated(
            incident=watch.incident,
            reason=reason,
            notified=watch.crew.outbox.sinks,
            half_done=tuple(remedy.id for remedy in held),
            not_undone=() if plan is None else await left_over(tx, plan),
        )
        await watch.append(tx, EntryType.ESCALATION, data)
        unsettled = await watch.crew.claims.unsettled(tx, watch.incident)
        notice = _notice(incident, noted, held, proposed, data.not_undone, may_be_closed=not held and not unsettled)
        await watch.crew.outbox.put(tx, notice)
        await watch.status(tx, Status.ESCALATED)

    order = state.get("order", "")
    step = f"{key('escalate', state)}/{reason}" + (f"/{order}" if order else "")
    await watch.steps.once(step, Noted, look, write)
    return {"next": "watch", "reason": reason, "order": ""}


def _notice(
    incident: Incident,
    noted: Noted,
    held: tuple[Remedy, ...],
    proposed: Proposed | None,
    not_undone: tuple[NotUndone, ...],
    *,
    may_be_closed: bool,
) -> Notice:
    plan = None if proposed is None else proposed.plan
    obstacles = () if proposed is None else proposed.obstacles
    commands = [f"watchkeeper ledger show {incident.id}"]
    if held:
        commands.append(f"watchkeeper undo {incident.id}")
    if may_be_closed:
        commands.append(f"watchkeeper incidents close {incident.id} -m WHY")
    return Notice(
        incident=incident.id,
        kind="escalation",
        reason=noted.note,
        service=incident.scope.service,
        environment=incident.scope.environment,
        mode=incident.mode,
        subject=incident.subject,
        at=noted.at,
        proposed=() if plan is None else tuple(f"{a.intent} {a.target}" for a in plan.actions),
        half_done=tuple(str(remedy.change.target) for remedy in held),
        not_undone=tuple(f"{each.intent} {each.target}: {each.why}" for each in not_undone),
        to_change=tuple(f"{each.target} ({each.reason}): {each.fix}" for each in obstacles),
        commands=tuple(commands),
    )


async def watch_on(watch: Watcher, state: WatchState) -> WatchState:
    """A person has it. It closes by itself only when the trouble is gone, nothing of ours is in force and no effect
    may still turn out to be; what is still in force at the end of its time is put back."""
    held, read_at = await watch.held(), await look_untreated(watch, state)
    if not held and not await _unsettled(watch) and await watch.crew.all_gone(watch.incident):
        return {"next": "close", "reason": state.get("reason", "cleared")}
    if any(remedy.expires <= watch.crew.now() for remedy in held):
        return {**watch.wait(watch.crew.timing.recheck_s, "undo"), "reason": "remedy_expired"}
    again = watch.crew.now() + timedelta(seconds=watch.crew.timing.recheck_s)
    return watch.wait_until(again if read_at is None else min(again, read_at), "watch")


async def _unsettled(watch: Watcher) -> bool:
    async with watch.crew.store.read() as tx:
        return await watch.crew.claims.unsettled(tx, watch.incident)


async def close(watch: Watcher, state: WatchState) -> WatchState:
    resolution = state.get("reason", "recovered")

    async def look() -> Noted:
        return Noted(at=watch.crew.now(), note=resolution)

    relapses = state.get("relapses", 0)
    release = await _acted_under(watch, state)

    async def write(tx: AsyncConnection, noted: Noted) -> None:
        calm_at = None if release is None else noted.at + calm_for(release, relapses)
        scored = await ending(tx, watch.incident, resolution, noted.at, by_person=False)
        await watch.crew.trust.record(tx, scored)
        await watch.crew.approvals.withdraw(tx, watch.incident)
        await watch.crew.incidents.close(tx, watch.incident, resolution, relapses=relapses, calm_at=calm_at)

    await watch.steps.once("close", Noted, look, write)
    return {}


async def _acted_under(watch: Watcher, state: WatchState) -> Release | None:
    """The terms of what was done for this incident; None if nothing was, or if there was nothing to give back."""
    proposed = await watch.steps.recorded(f"propose/{state.get('attempt', 0)}", Proposed)
    acted = await watch.crew.remedies.of_incident(watch.incident)
    return proposed.plan.release if acted and proposed is not None and proposed.plan is not None else None
