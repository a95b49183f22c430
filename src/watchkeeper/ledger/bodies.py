"""Evidence rows held against their own commitments, and against what entries say of them.

Each row is kept as two numbers of 64 bits, so that a million of them takes 16 MB. A row that no entry names is counted,
not found fault with: its entries may be pruned. That a body is missing is nothing wrong: bodies may be erased.
"""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from watchkeeper.core.digest import commitment
from watchkeeper.ledger.evidence import inflate
from watchkeeper.ledger.examine import naming
from watchkeeper.ledger.snapshot import EvidenceRow, Snapshot

_UNNAMED, _OTHERWISE, _AS_IT_IS = 0, 1, 2
MAX_TOLD = 1_000
"""How many bodies that differ are remembered by name."""


class Bodies:
    def __init__(self) -> None:
        self._keys, self._wholes, self._states = array("Q"), array("Q"), bytearray()
        self._differing: list[str] = []

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

    def name(self, named: Iterable[tuple[int, int]]) -> None:
        """What entries refer to."""
        keys = self._keys
        for key, whole in named if keys else ():
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                self._states[at] = max(self._states[at], _AS_IT_IS if self._wholes[at] == whole else _OTHERWISE)

    def differing(self) -> list[str]:
        """Rows that do not open their commitment, and rows of which every entry says something else."""
        otherwise = (
            f"hmac-sha256:{key:016x}…"
            for key, state in zip(self._keys, self._states, strict=True)
            if state == _OTHERWISE
        )
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
