"""The phases of a rollout, from looking to acting. Order matters: `rank`."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """`triage`: reads and proposes. `pilot`: one runbook, one service that is not critical, small. `expanded`: several
    runbooks, several services. `agent_first`: agents are on call first, people second. What each may is policy's."""

    TRIAGE = "triage"
    PILOT = "pilot"
    EXPANDED = "expanded"
    AGENT_FIRST = "agent_first"

    @property
    def rank(self) -> int:
        return _ORDER.index(self)

    @property
    def following(self) -> Phase | None:
        return _ORDER[self.rank + 1] if self.rank + 1 < len(_ORDER) else None

    @property
    def preceding(self) -> Phase | None:
        return _ORDER[self.rank - 1] if self.rank else None


_ORDER = tuple(Phase)
