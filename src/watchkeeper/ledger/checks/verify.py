"""Verifies the ledger from its stored bytes: every leaf, the tree, all checkpoints and signatures, tiles and head.

The caller brings the verifier key, and, to exclude a rollback, a checkpoint it remembers (the anchor). Without one,
whoever owns the database could have put an older, shorter log in place, and the report says so. It does not read what
entries say, nor what is stored beside the tree: fsck does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from watchkeeper.ledger.checks.ahead import one_ahead
from watchkeeper.ledger.checks.audit import Audit, Code, Problem, VerifyReport
from watchkeeper.ledger.cosigning.cosigned import faults
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.signing.note import VerifierKey

__all__ = ["Code", "Problem", "Progress", "VerifyReport", "verify"]

Progress = Callable[[int, int], None]
"""Told how many entries of how many are done."""


async def verify(
    reader: LogReader, vkey: str, anchor: str | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Reads the whole log in pages under one snapshot; memory stays flat. The hashing leaves the event loop free."""
    key = VerifierKey.from_vkey(vkey)
    async with reader.snapshot() as log:
        audit = Audit([key], anchor, await log.rotations(), await log.pruned())
        total = await log.count()
        async for page in one_ahead(log.pages()) if log.apart else log.pages():
            await asyncio.to_thread(audit.page, page)
            if progress is not None:
                progress(audit.size, max(total, audit.size))
        audit.beyond(await log.checkpoints_above(audit.size))
        audit.head(*await log.head())
        async for found in log.cosigned():
            for where in faults(found):
                audit.problem(where, Code.BAD_COSIGNATURE)
        pending = await log.pending()
    return audit.report(pending=pending)
