"""A remedy as an effect makes it: what we changed and now hold, from the plan and the settled effect."""

from __future__ import annotations

from datetime import datetime, timedelta

from watchkeeper.core.ids import RemedyId, new_id
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import Remedy, RemedyStatus


def new_remedy(plan: Plan, step: int, since: datetime, ttl_s: float, *, now: datetime, relapses: int = 0) -> Remedy:
    """In force from `since`, for `ttl_s` at most."""
    return Remedy(
        id=RemedyId(new_id("rem", now)),
        incident=plan.incident,
        plan=plan.id,
        step=step,
        holder=plan.remediator,
        change=plan.changes[step],
        since=since,
        expires=since + timedelta(seconds=ttl_s),
        status=RemedyStatus.IN_FORCE,
        relapses=relapses,
    )
