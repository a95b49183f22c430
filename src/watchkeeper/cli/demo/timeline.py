"""Follows the daemon's timeline, prints it, and remembers what became of each incident."""

from __future__ import annotations

import textwrap
import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from watchkeeper.cli.demo.narrate import Said, said
from watchkeeper.core import consents, entries
from watchkeeper.core.entries import ENTRY_DATA, EntryType
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import Effect, EffectOutcome, Outcome, Recovery
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import RemedyStatus

MARGIN = 11


@dataclass
class Course:
    """One incident as it went. `acted`: an effect of ours succeeded before the recovery was verified."""

    incident: str
    mode: str = ""
    acted: bool = False
    last_horizon_s: float = 0.0
    recovered: bool = False
    resolution: str = ""
    escalation: str = ""
    approval: str = ""
    answered: bool = False
    remedies: dict[str, RemedyStatus] = field(default_factory=dict)

    @property
    def released(self) -> bool:
        """Something was held, and all of it was given back by the hold-and-release that the plan declared."""
        return bool(self.remedies) and set(self.remedies.values()) == {RemedyStatus.RELEASED}


@dataclass
class Timeline:
    console: Console
    started: float = field(default_factory=time.monotonic)
    after: int = -1
    courses: dict[str, Course] = field(default_factory=dict)

    def follow(self, client: Any, wait_s: float = 1.0) -> None:
        """One long poll: prints what came, and notes it."""
        page = client.get("/v1/timeline", after=self.after, wait_s=wait_s)
        self.after = page["next"]
        for entry in page["entries"]:
            envelope = entry["envelope"]
            data = ENTRY_DATA[EntryType(envelope["type"])].model_validate(envelope["data"])
            self.note(envelope.get("subject", ""), data)
            for line in said(data):
                self.say(line)

    def course(self, mode: str) -> Course | None:
        """The latest incident of this mode."""
        found = [course for course in self.courses.values() if course.mode == mode]
        return found[-1] if found else None

    def say(self, line: Said) -> None:
        stamp = f"{time.monotonic() - self.started:6.1f}s " if line.label else " " * 8
        first, *more = textwrap.wrap(line.text, self.console.width - MARGIN - len(stamp)) or [""]
        self.console.print(
            Text.assemble((stamp, "dim"), (f"{line.label:<{MARGIN}}", line.style), (first, _plain(line)))
        )
        for rest in more:
            self.console.print(Text(" " * (len(stamp) + MARGIN + 2) + rest, style=_plain(line)))

    def heading(self, text: str) -> None:
        self.console.print()
        self.console.rule(Text(text, style="bold"), align="left", style="dim")

    def note(self, subject: str, data: Contract) -> None:
        if not subject.startswith("inc_"):
            return
        course = self.courses.setdefault(subject, Course(incident=subject))
        match data:
            case entries.FindingRecorded(finding=finding):
                course.mode = course.mode or finding.mode.value
            case EffectOutcome(effect=Effect.SUCCEEDED):
                course.acted = True
            case Plan(verification=verification):
                course.last_horizon_s = verification.horizons_s[-1]
            case Outcome(recovery=recovery, horizon_s=horizon_s) if horizon_s >= course.last_horizon_s:
                course.recovered = course.acted and recovery is Recovery.RECOVERED
            case consents.ApprovalRequested(approval=approval):
                course.approval = approval
            case consents.ApprovalAnswered():
                course.answered = True
            case entries.RemedyRecorded(remedy=remedy):
                course.remedies[remedy.id] = remedy.status
            case entries.Escalated(reason=reason):
                course.escalation = reason
            case entries.IncidentClosed(resolution=resolution):
                course.resolution = resolution


def _plain(line: Said) -> str:
    return line.style if line.style == "dim" else ""
