"""Evidence rows held against their own commitments, and against what entries say of them.

Each row is kept as two numbers of 64 bits, so that a million of them takes 16 MB. A row that no entry names is counted,
not found fault with: its entries may be pruned. A body that is missing must have been erased by name, or be of a kind
of which as many were pruned, up to a time after it was named (or so shortly before it that it may have been kept
earlier): which of the old ones were pruned is not known.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence, Set
from datetime import datetime

from watchkeeper.core.digest import commitment
from watchkeeper.core.model import format_instant
from watchkeeper.ledger.checks.examine import Gone, Named, naming
from watchkeeper.ledger.evidence.store import REFERRED_WITHIN, inflate
from watchkeeper.ledger.snapshot import EvidenceRow, Snapshot

_UNNAMED, _OTHERWISE, _AS_IT_IS = 0, 1, 2
MAX_TOLD = 1_000
"""How many bodies that differ are remembered by name."""


class _Missing:
    """Bodies of one kind that entries name and that are not there: each with the time of the first entry."""

    def __init__(self) -> None:
        self._first: dict[int, str] = {}

    def add(self, named: Named) -> None:
        self._first.setdefault(named.key, named.time)

    def besides(self, erased: Set[int]) -> list[int]:
        return [key for key in self._first if key not in erased]

    def newest_key(self, keys: Iterable[int]) -> int:
        return max(keys, key=lambda key: (self._first[key], key))

    def newest(self, keys: Iterable[int]) -> str:
        return self._first[self.newest_key(keys)]


class Bodies:
    def __init__(self) -> None:
        self._keys, self._wholes, self._states = array("Q"), array("Q"), bytearray()
        self._differing: list[str] = []
        self._missing: dict[str, _Missing] = {}
        self._erased: set[int] = set()
        self._pruned: dict[str, Gone] = {}

    @property
    def count(self) -> int:
        return len(self._keys)

    @property
    def unnamed(self) -> int:
        return self._states.count(_UNNAMED)

    async def load(self, log: Snapshot) -> None:
        """Reads every row; the rows come in order of commitment."""
        async for rows in log.evidence():
            for name in await asyncio.to_thread(_altered, rows):
                self._differs(name)
            for row in rows:
                self._add(row)

    def name(self, named: Iterable[Named]) -> None:
        """What entries refer to, in their order."""
        keys = self._keys
        for each in named:
            at = bisect_left(keys, each.key)
            if at < len(keys) and keys[at] == each.key:
                self._states[at] = max(self._states[at], _AS_IT_IS if self._wholes[at] == each.whole else _OTHERWISE)
            else:
                self._missing.setdefault(each.kind, _Missing()).add(each)

    def destroyed(self, gone: Iterable[Gone]) -> None:
        """What entries say is there no more."""
        for each in gone:
            self._erased.update(each.keys)
            if not each.keys:
                known = self._pruned.get(each.kind, Gone(each.kind, 0, ""))
                self._pruned[each.kind] = Gone(each.kind, known.number + each.number, max(known.before, each.before))

    def missing(self) -> list[str]:
        """Of each kind the newest body that is not there and of which no entry says so."""
        found = []
        for kind, missing in sorted(self._missing.items()):
            pruned = self._pruned.get(kind, Gone(kind, 0, ""))
            left = missing.besides(self._erased)
            if left and (len(left) > pruned.number or missing.newest(left) >= _referred_until(pruned.before)):
                found.append(_place(missing.newest_key(left)))
        return found

    def differing(self) -> list[str]:
        """Rows that do not open their commitment, and rows of which every entry says something else."""
        otherwise = (_place(key) for key, state in zip(self._keys, self._states, strict=True) if state == _OTHERWISE)
        return [*self._differing, *otherwise]

    def _add(self, row: EvidenceRow) -> None:
        try:
            key, whole = naming(row.commitment, row.kind, row.media_type, str(row.size))
        except ValueError:
            self._differs(row.commitment)
            return
        self._keys.append(key)
        self._wholes.append(whole)
        self._states.append(_UNNAMED)

    def _differs(self, name: str) -> None:
        if len(self._differing) < MAX_TOLD:
            self._differing.append(name)


def _altered(rows: Sequence[EvidenceRow]) -> list[str]:
    return [row.commitment for row in rows if not _opens(row)]


def _opens(row: EvidenceRow) -> bool:
    body = inflate(row.body)
    return body is not None and len(body) == row.size and commitment(row.salt, body) == row.commitment


def _referred_until(before: str) -> str:
    """A body that was kept until then may have come into its first entry until this time."""
    try:
        return format_instant(datetime.fromisoformat(before) + REFERRED_WITHIN)
    except OverflowError:
        return before


def _place(key: int) -> str:
    return f"hmac-sha256:{key:016x}…"
