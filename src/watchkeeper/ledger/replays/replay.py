"""Makes again what the ledger says was made, from the inputs it recorded, and compares byte for byte (invariant 8).

The rooms above register how each kind is recomputed; this room imports none of them. What cannot be recomputed is
counted apart with its reason and is never a match.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import TYPE_CHECKING

from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.model import Contract
from watchkeeper.ledger.replays.again import ALTERED, Again, Made, made_again
from watchkeeper.ledger.replays.differences import PathChange
from watchkeeper.ledger.replays.recomputers import Load, NotRecomputableError, Recompute, Recomputers

if TYPE_CHECKING:
    from watchkeeper.ledger.reader import Entry

__all__ = ["NotRecomputableError", "Recompute", "Recomputers", "Replay", "ReplayReport", "replay_check", "replay_log"]

MAX_SHOWN = 100
"""Of how many entries that differ a report says where; all are named."""


class ReasonCount(Contract):
    reason: str
    count: int


class KindCount(Contract):
    """What came of the entries of one kind."""

    kind: str
    matched: int = 0
    differed: int = 0
    not_recomputable: int = 0


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
    kinds: tuple[KindCount, ...] = ()
    altered: tuple[str, ...] = ()
    """Entry ids whose evidence is no longer what they refer to; each is also among what is not recomputable."""

    @property
    def ok(self) -> bool:
        return not self.differed and not self.altered


class Replay:
    """Counts one entry after another; memory grows with the entries that differ, and with nothing else."""

    def __init__(self, recomputers: Recomputers) -> None:
        self._recomputers = recomputers
        self._seen = 0
        self._kinds: Counter[tuple[str, Made]] = Counter()
        self._differed: list[str] = []
        self._differences: list[Difference] = []
        self._altered: list[str] = []
        self._reasons: Counter[str] = Counter()

    def add(self, entry: Entry, recompute: Recompute | None = None) -> None:
        self.add_envelope(entry.envelope, recompute)

    def add_envelope(self, envelope: Envelope, recompute: Recompute | None = None) -> None:
        """`recompute`: how, where that takes more than the entry; see `Recomputers.bound`."""
        self._seen += 1
        recompute = recompute or self._recomputers.find(envelope.type)
        if recompute is not None:
            self._count(envelope, made_again(envelope, recompute))

    def _count(self, envelope: Envelope, again: Again) -> None:
        self._kinds[envelope.type, again.made] += 1
        match again.made:
            case Made.DIFFERS:
                self._differed.append(envelope.id)
                if len(self._differences) < MAX_SHOWN:
                    shown = Difference(entry=envelope.id, subject=envelope.subject, paths=again.paths)
                    self._differences.append(shown)
            case Made.NOT_RECOMPUTABLE:
                self._reasons[again.reason] += 1
                if again.reason == ALTERED:
                    self._altered.append(envelope.id)

    def skip(self, *, matched: bool = False, reason: str = "") -> None:
        """An entry that somebody else has looked at: of another kind, a decision that is the same (`matched`), or one
        that is not to be made again."""
        self._seen += 1
        if matched:
            self._kinds[EntryType.DECISION, Made.SAME] += 1
        if reason:
            self._reasons[reason] += 1

    def report(self) -> ReplayReport:
        return ReplayReport(
            seen=self._seen,
            matched=sum(count for (_, made), count in self._kinds.items() if made is Made.SAME),
            differed=tuple(self._differed),
            not_recomputable=_counted(self._reasons),
            differences=tuple(self._differences),
            kinds=tuple(self._kind(kind) for kind in sorted({kind for kind, _ in self._kinds})),
            altered=tuple(self._altered),
        )

    def _kind(self, kind: str) -> KindCount:
        same, differs, gone = (self._kinds[kind, made] for made in Made)
        return KindCount(kind=kind, matched=same, differed=differs, not_recomputable=gone)


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
        kinds=_added(each for report in reports for each in report.kinds),
        altered=tuple(entry for report in reports for entry in report.altered),
    )


def _added(counts: Iterable[KindCount]) -> tuple[KindCount, ...]:
    total: dict[str, KindCount] = {}
    for each in counts:
        known = total.get(each.kind, KindCount(kind=each.kind))
        total[each.kind] = KindCount(
            kind=each.kind,
            matched=known.matched + each.matched,
            differed=known.differed + each.differed,
            not_recomputable=known.not_recomputable + each.not_recomputable,
        )
    return tuple(total[kind] for kind in sorted(total))


def _counted(reasons: Counter[str]) -> tuple[ReasonCount, ...]:
    return tuple(ReasonCount(reason=reason, count=count) for reason, count in sorted(reasons.items()))


def replay_check(entries: Iterable[Entry], recomputers: Recomputers) -> ReplayReport:
    """Recomputes every entry that has a recomputer."""
    replay = Replay(recomputers)
    for entry in entries:
        replay.add(entry)
    return replay.report()


async def replay_log(entries: AsyncIterable[Entry], recomputers: Recomputers, load: Load | None = None) -> ReplayReport:
    """The same over `LogReader.iterate`. Without `load` there is no evidence: what needs it counts as pruned."""
    replay = Replay(recomputers)
    async for entry in entries:
        replay.add(entry, None if load is None else await recomputers.bound(entry.envelope, load))
    return replay.report()
