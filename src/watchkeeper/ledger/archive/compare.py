"""Holds an archive against the database it was made from: the leaf hashes, which outlive pruned entries, and the
manifests that the ledger recorded.

It takes the database's word for its own leaf hashes; that those are what was signed is for verify to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from watchkeeper.ledger.archive import rows
from watchkeeper.ledger.archive.check import ArchiveCheck, ArchiveCheckReport, ArchiveCode, Bundle
from watchkeeper.ledger.archive.manifest import manifest_name
from watchkeeper.ledger.retention.progress import Progress
from watchkeeper.ledger.tree.merkle import TILE
from watchkeeper.store.engine import Store


async def check_with(store: Store, check: ArchiveCheck, place: str) -> AsyncIterator[Progress | ArchiveCheckReport]:
    """The whole archive; the report comes last."""
    async with store.read() as tx:
        recorded = await rows.archives(tx, place)
    total = recorded[-1].end if recorded else 0
    async for done in held_against(store, check, check.walk()):
        yield Progress(what="entries", done=done, total=max(total, done))
    for archived in recorded:
        found = check.digests.get(archived.first)
        if found is None:
            check.problem(manifest_name(archived.first), ArchiveCode.MISSING)
        elif found != archived.digest:
            check.problem(manifest_name(archived.first), ArchiveCode.NOT_RECORDED)
    yield check.report()


async def held_against(store: Store, check: ArchiveCheck, bundles: Iterator[Bundle]) -> AsyncIterator[int]:
    """Compares each bundle's leaves; says after each where it ends. The archive is read in a thread."""
    while (bundle := await asyncio.to_thread(next, bundles, None)) is not None:
        async with store.read() as tx:
            ours = await rows.leaves(tx, bundle.first, bundle.first + TILE)
        for offset, leaf in enumerate(bundle.leaves):
            if offset >= len(ours) or leaf != ours[offset]:
                check.problem(f"entry {bundle.first + offset}", ArchiveCode.LEAF)
        check.compared += TILE
        yield bundle.first + TILE
