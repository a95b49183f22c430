"""What was let go, counted by kind and reason until somebody asks (invariant 10)."""

from __future__ import annotations

from pydantic import JsonValue

from watchkeeper.core.entries import Eviction


class Evictions:
    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}

    def add(self, what: str, reason: str, count: int = 1) -> None:
        if count > 0:
            self._counts[what, reason] = self._counts.get((what, reason), 0) + count

    def drain(self) -> tuple[Eviction, ...]:
        """Everything since the last call, in a fixed order."""
        counts, self._counts = self._counts, {}
        return tuple(Eviction(what=what, count=n, reason=reason) for (what, reason), n in sorted(counts.items()))

    def dump(self) -> JsonValue:
        return [[what, reason, n] for (what, reason), n in sorted(self._counts.items())]

    def load(self, rows: list[tuple[str, str, int]]) -> None:
        self._counts = {(what, reason): n for what, reason, n in rows}
