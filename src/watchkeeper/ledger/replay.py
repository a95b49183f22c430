"""Makes again what the ledger says was made, from the inputs it recorded, and compares byte for byte (invariant 8).

The rooms above register how each kind is recomputed; this room imports none of them. What cannot be recomputed is
counted apart with its reason and is never a match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.errors import NotFoundError
from watchkeeper.core.model import Contract
from watchkeeper.ledger.differences import PathChange, differences

if TYPE_CHECKING:
    from watchkeeper.ledger.reader import Entry

MAX_SHOWN = 100
"""Of how many entries that differ a report says where; all are named."""

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


class Difference(Contract):
    """An entry that was made again and came out otherwise. `paths` into its data."""

    entry: str
    subject: str
    paths: tuple[PathChange, ...]


class ReplayReport(Contract):
    """`seen` counts all entries; those of kinds that nothing recomputes (a call, a claim) are in no other number.
    `differences` says of the first of `differed` where."""

    seen: int
    matched: int
    differed: tuple[str, ...]
    """Entry ids."""
    not_recomputable: tuple[ReasonCount, ...]
    differences: tuple[Difference, ...] = ()

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
        self._differences: list[Difference] = []
        self._reasons: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        self.add_envelope(entry.envelope)

    def add_envelope(self, envelope: Envelope) -> None:
        self._seen += 1
        recompute = self._recomputers.find(envelope.type)
        if recompute is None:
            return
        try:
            recorded = envelope.typed()
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
                self._differs(envelope, recorded, again)

    def skip(self, *, matched: bool = False, reason: str = "") -> None:
        """An entry that somebody else has looked at: of another kind, the same (`matched`), or not to be made again."""
        self._seen += 1
        self._matched += matched
        if reason:
            self._reasons[reason] += 1

    def _differs(self, envelope: Envelope, recorded: Contract, again: Contract) -> None:
        self._differed.append(envelope.id)
        if len(self._differences) < MAX_SHOWN:
            paths = differences(recorded.model_dump(mode="json"), again.model_dump(mode="json"))
            self._differences.append(Difference(entry=envelope.id, subject=envelope.subject, paths=paths))

    def report(self) -> ReplayReport:
        return ReplayReport(
            seen=self._seen,
            matched=self._matched,
            differed=tuple(self._differed),
            not_recomputable=_counted(self._reasons),
            differences=tuple(self._differences),
        )


def merged(reports: Sequence[ReplayReport]) -> ReplayReport:
    """One report over the parts of a log, in their order."""
    reasons: Counter[str] = Counter()
    for report in reports:
        reasons.update({each.reason: each.count for each in report.not_recomputable})
    return ReplayReport(
        seen=sum(report.seen for report in reports),
        matched=sum(report.matched for report in reports),
        differed=tuple(entry for report in reports for entry in report.differed),
        not_recomputable=_counted(reasons),
        differences=tuple(each for report in reports for each in report.differences)[:MAX_SHOWN],
    )


def _counted(reasons: Counter[str]) -> tuple[ReasonCount, ...]:
    return tuple(ReasonCount(reason=reason, count=count) for reason, count in sorted(reasons.items()))


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
