"""What is remembered of a run, and where: in this process (`MemoryRuns`), or in a file that all share (shared.py).

Bounded: of the runs that are kept, the one that called longest ago is forgotten first, and counted. A forgotten run
starts anew. What a call is expected to cost is charged when it is let through and corrected when it ends; one that
never ends stays charged.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from watchkeeper_guard.rules import HISTORY

Answer = TypeVar("Answer")

IDLE_S = 24 * 3600.0
"""A run that did not call for so long is over: its name counts from nothing again."""
MAX_RUNS = 10_000


@dataclass(frozen=True)
class RunState:
    """Calls let through, what they are charged, and the fingerprints of the last ones."""

    calls: int = 0
    tokens: int = 0
    micro_usd: int = 0
    history: tuple[int, ...] = ()
    seen_at: float = 0.0

    def called(self, fingerprint: int, tokens: int, micro_usd: int, now: float) -> RunState:
        history = (*self.history, fingerprint)[-HISTORY:] if fingerprint else self.history
        return RunState(self.calls + 1, self.tokens + tokens, self.micro_usd + micro_usd, history, now)

    def corrected(self, tokens: int, micro_usd: int) -> RunState:
        return replace(self, tokens=max(0, self.tokens + tokens), micro_usd=max(0, self.micro_usd + micro_usd))


Change = Callable[[RunState], tuple[RunState | None, Answer]]
"""Given what is known of a run: what it should be now (None: as it was), and an answer."""


class StateBusyError(Exception):
    """What is known of the run could not be read in time."""


class Runs(Protocol):
    """Where runs are kept. `update` is one step that no other can come between."""

    @property
    def forgotten(self) -> int: ...

    def update(self, key: bytes, now: float, change: Change[Answer]) -> Answer: ...

    def get(self, key: bytes, now: float) -> RunState: ...


def alive(state: RunState | None, now: float) -> RunState:
    """The state, or that of a run that begins."""
    return RunState() if state is None or now - state.seen_at > IDLE_S else state


class MemoryRuns:
    """In this process alone; a restart forgets them all."""

    def __init__(self, most: int = MAX_RUNS) -> None:
        self._most, self._lock = most, threading.Lock()
        self._runs: OrderedDict[bytes, RunState] = OrderedDict()
        self._forgotten = 0

    @property
    def forgotten(self) -> int:
        return self._forgotten

    def update(self, key: bytes, now: float, change: Change[Answer]) -> Answer:
        with self._lock:
            changed, answer = change(alive(self._runs.get(key), now))
            if changed is not None:
                self._runs[key] = changed
                self._runs.move_to_end(key)
                if len(self._runs) > self._most:
                    self._runs.popitem(last=False)
                    self._forgotten += 1
            return answer

    def get(self, key: bytes, now: float) -> RunState:
        with self._lock:
            return alive(self._runs.get(key), now)
