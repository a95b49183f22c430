"""A notice that a person would get, and a sink for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from watchkeeper.agents.outbox import Notice
from watchkeeper.core.ids import IncidentId


@dataclass
class Silent:
    """A sink that takes everything and says nothing."""

    name: str

    async def send(self, dedup: str, body: str) -> None:
        return None


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
