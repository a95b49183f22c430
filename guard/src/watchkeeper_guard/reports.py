"""What was refused, gathered for the daemon: equal refusals are one line with a count, and there is a bound.

What does not fit is counted as dropped. It does NOT outlive its process: what was not sent when the gateway ends is
lost. Refusing itself never waits for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from watchkeeper_guard.engine import Finding
from watchkeeper_guard.request import Request

API_VERSION = "watchkeeper.dev/guard-reports/v1"
MAX_LINES = 1000
BATCH = 200


class Outcome(StrEnum):
    """What became of the call: refused, would have been (audit), let through in doubt, or marked."""

    REFUSED = "refused"
    AUDITED = "audited"
    DOUBTED = "doubted"
    MARKED = "marked"


@dataclass(frozen=True)
class Line:
    """What equal refusals have in common."""

    rule: str
    code: str
    outcome: Outcome
    model: str = ""
    key: str = ""
    team: str = ""
    agent: str = ""
    run: str = ""
    environment: str = ""


@dataclass
class Tally:
    """How often, from when to when, and by how much at most."""

    count: int
    first_at: float
    last_at: float
    observed: int
    limit: int


class Reports:
    """Added to by calls, taken from by the sender; both from any thread."""

    def __init__(self, most: int = MAX_LINES) -> None:
        self._most, self._lock = most, threading.Lock()
        self._lines: OrderedDict[Line, Tally] = OrderedDict()
        self.dropped = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, found: Sequence[Finding], outcome: Outcome, request: Request, now: float) -> None:
        for each in found:
            line = Line(
                rule=each.rule,
                code=each.code,
                outcome=outcome,
                model=request.model,
                key=next(iter(request.keys), ""),
                team=next(iter(request.teams), ""),
                agent=next(iter(request.agents), ""),
                run=request.run or "",
                environment=request.environment,
            )
            self._put(line, Tally(1, now, now, each.observed, each.limit))
            self.refused += outcome is Outcome.REFUSED

    def _put(self, line: Line, new: Tally) -> None:
        with self._lock:
            known = self._lines.get(line)
            if known is not None:
                known.count += new.count
                known.first_at = min(known.first_at, new.first_at)
                known.last_at = max(known.last_at, new.last_at)
                known.observed, known.limit = max(known.observed, new.observed), new.limit
            elif len(self._lines) < self._most:
                self._lines[line] = new
            else:
                self.dropped += new.count

    def take(self) -> list[tuple[Line, Tally]]:
        """The oldest lines, out of the queue: whoever takes them keeps them until they are delivered."""
        with self._lock:
            count = min(BATCH, len(self._lines))
            return [self._lines.popitem(last=False) for _ in range(count)]


def as_document(line: Line, tally: Tally) -> dict[str, object]:
    """One line as it is sent."""
    names = {name: getattr(line, name) for name in ("model", "key", "team", "agent", "run", "environment")}
    return {
        "rule": line.rule,
        "code": line.code,
        "outcome": str(line.outcome),
        **{name: value for name, value in names.items() if value},
        "count": tally.count,
        "first_at": _instant(tally.first_at),
        "last_at": _instant(tally.last_at),
        "observed": tally.observed,
        "limit": tally.limit,
    }


def _instant(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
