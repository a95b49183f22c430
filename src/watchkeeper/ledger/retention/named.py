"""Which evidence the entries about given subjects name, whatever their kind: read from their bytes, without models."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence

from sqlalchemy import select

from watchkeeper.ledger.tables import ledger_staged
from watchkeeper.store.engine import Store

_COMMITMENT = re.compile(rb"hmac-sha256:[0-9a-f]{64}")
_PAGE = 500


async def commitments_named(store: Store, subjects: Iterable[str]) -> frozenset[str]:
    """In entries that are sequenced and in those that wait for it."""
    found: set[bytes] = set()
    ordered = sorted(subjects)
    for start in range(0, len(ordered), _PAGE):
        async for body in _bodies(store, ordered[start : start + _PAGE]):
            found.update(_COMMITMENT.findall(body))
    return frozenset(each.decode() for each in found)


async def _bodies(store: Store, subjects: Sequence[str]) -> AsyncIterator[bytes]:
    above = -1
    while True:
        query = select(ledger_staged.c.id, ledger_staged.c.body).where(
            ledger_staged.c.subject.in_(subjects), ledger_staged.c.id > above
        )
        async with store.read() as tx:
            rows = (await tx.execute(query.order_by(ledger_staged.c.id).limit(_PAGE))).all()
        for row in rows:
            yield row.body
        if len(rows) < _PAGE:
            return
        above = rows[-1].id
