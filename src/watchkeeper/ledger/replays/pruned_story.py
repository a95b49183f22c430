"""What a story says of an incident whose entries were pruned: which archives have them.

The opening and the closing of an incident are never pruned: they say between which indices the rest was.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchkeeper.core.entries import Archived, EntriesPruned, EntryType
from watchkeeper.ledger.reader import MAX_READ, Entry, LogReader


async def telling_of_pruning(reader: LogReader, entries: Sequence[Entry]) -> list[Entry]:
    """An incident's entries as they are left. Where the rest is pruned, the entries that say so, and name the archive,
    come after its opening."""
    left = list(entries)
    if not left or left[0].envelope.type != EntryType.INCIDENT_OPENED:
        return left
    if any(entry.envelope.type == EntryType.FINDING for entry in left):  # every opening comes with a finding
        return left
    opened, *rest = left
    end = rest[0].index if rest else None
    return [opened, *await _of_range(reader, opened.index + 1, end), *rest]


async def _of_range(reader: LogReader, first: int, end: int | None) -> list[Entry]:
    """The records of archives and prunings that touch these indices; an archive only where a pruning names it."""
    found = await reader.find(types=(EntryType.ARCHIVED, EntryType.ENTRIES_PRUNED), limit=MAX_READ)
    touching: list[tuple[Entry, Archived | EntriesPruned]] = []
    for entry in found:
        data = entry.envelope.typed()
        if isinstance(data, Archived | EntriesPruned) and data.end > first and (end is None or data.first < end):
            touching.append((entry, data))
    named = {data.archive for _, data in touching if isinstance(data, EntriesPruned)}
    return [entry for entry, data in touching if isinstance(data, EntriesPruned) or data.digest in named]
