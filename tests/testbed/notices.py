"""A notice that a person would get."""

from __future__ import annotations

from datetime import datetime

from watchkeeper.agents.outbox import Notice
from watchkeeper.core.ids import IncidentId


def a_notice(at: datetime, reason: str = "novel_cause", subject: str = "agent:a") -> Notice:
    return Notice(
        incident=IncidentId("inc_1"),
        kind="escalation",
        reason=reason,
        service="chat",
        environment="demo",
        mode="runaway_loop",
        subject=subject,
        at=at,
    )
