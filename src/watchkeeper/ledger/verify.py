"""Verifies the ledger from its raw rows: every leaf, the tree, all checkpoints, the writers' chains, and that every
staged entry has exactly one place.

The caller brings the verifier key, and, to exclude a rollback, a checkpoint it remembers (the anchor). Without one,
whoever owns the database could have put an older, shorter log in place, and the report says so. It does not judge what
the entries mean: that is replay's business.
"""

from __future__ import annotations

from watchkeeper.ledger.audit import Audit, Code, Problem, VerifyReport
from watchkeeper.ledger.cosigned import faults
from watchkeeper.ledger.note import VerifierKey
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.snapshot import Accounts

__all__ = ["Code", "Problem", "VerifyReport", "verify"]


async def verify(reader: LogReader, vkey: str, anchor: str | None = None) -> VerifyReport:
    """Reads the whole log in pages under one snapshot; memory stays flat."""
    audit = Audit([VerifierKey.from_vkey(vkey)], anchor)
    async with reader.snapshot() as log:
        async for page in log.pages():
            audit.page(page)
        audit.beyond(await log.checkpoints_above(audit.size))
        audit.head(*await log.head())
        async for staged in log.waiting():
            for number, body, copies in staged:
                audit.waiting(number, body, copies)
        audit.writers(await log.writers())
        _account(audit, await log.accounts())
        async for found in log.cosigned():
            for where in faults(found):
                audit.problem(where, Code.BAD_COSIGNATURE)
    return audit.report()


def _account(audit: Audit, accounts: Accounts) -> None:
    for ids, code in (
        (accounts.lost, Code.LOST),
        (accounts.doubled, Code.DOUBLED),
        (accounts.dangling, Code.DANGLING),
    ):
        for number in ids:
            audit.problem(f"staged {number}", code)
