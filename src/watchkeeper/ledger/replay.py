"""Makes again what the ledger says was made, from the inputs it recorded, and compares byte for byte (invariant 8).

The rooms above register how each kind is recomputed; this room imports none of them. What cannot be recomputed is
counted apart with its reason and is never a match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.reader import Entry

Recompute = Callable[[Contract], Contract]
"""From an entry's recorded data, the same data made again. Pure; raises NotRecomputableError where it cannot."""


class NotRecomputableError(Exception):
    """Something that the recomputation needs is gone; `reason` is a short code (`pruned`, `code`, `policy`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ReasonCount(Contract):
    reason: str
    count: int


class ReplayReport(Contract):
    """`seen` counts all entries; those of kinds that nothing recomputes (a call, a claim) are in no other number."""

    seen: int
    matched: int
    differed: tuple[str, ...]
    """Entry ids."""
    not_recomputable: tuple[ReasonCount, ...]

    @property
    def ok(self) -> bool:
        return not self.differed


class Recomputers:
    """Which kinds can be made again, and how."""

    def __init__(self) -> None:
        self._known: dict[str, Recompute] = {}

    def register(self, kind: EntryType, recompute: Recompute) -> None:
        """Raises ValueError for a kind that has one: there is no second way to make a thing."""
        if kind in self._known:
            raise ValueError(f"{kind} has a recomputer")
        self._known[kind] = recompute

    def find(self, kind: str) -> Recompute | None:
        return self._known.get(kind)


class Replay:
    """Counts one entry after another; memory grows with the entries that differ, and with nothing else."""

    def __init__(self, recomputers: Recomputers) -> None:
        self._recomputers = recomputers
        self._seen = self._matched = 0
        self._differed: list[str] = []
        self._reasons: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        self._seen += 1
        recompute = self._recomputers.find(entry.envelope.type)
        if recompute is None:
            return
        try:
            recorded = entry.envelope.typed()
        except ValueError:
            self._reasons["unreadable"] += 1
            return
        try:
            again = recompute(recorded)
        except NotRecomputableError as missing:
            self._reasons[missing.reason] += 1
        except NotFoundError:
            self._reasons["not_kept"] += 1
        else:
            if canonical_model(again) == canonical_model(recorded):
                self._matched += 1
            else:
                self._differed.append(entry.envelope.id)

    def report(self) -> ReplayReport:
        return ReplayReport(
            seen=self._seen,
            matched=self._matched,
            differed=tuple(self._differed),
            not_recomputable=tuple(ReasonCount(reason=r, count=n) for r, n in sorted(self._reasons.items())),
        )


def replay_check(entries: Iterable[Entry], recomputers: Recomputers) -> ReplayReport:
    """Recomputes every entry that has a recomputer."""
    replay = Replay(recomputers)
    for entry in entries:
        replay.add(entry)
    return replay.report()


async def replay_log(entries: AsyncIterable[Entry], recomputers: Recomputers) -> ReplayReport:
    """The same over `LogReader.iterate`."""
    replay = Replay(recomputers)
    async for entry in entries:
        replay.add(entry)
    return replay.report()
