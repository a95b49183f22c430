"""Re-derives everything from the raw entries, with no trust in whoever wrote them: all that verify does, and what it
does not read.

Each entry is written anew and compared byte for byte, its data held against the contract of its kind, its copies
against what it says; the writers' chains are followed to their rows; every staged row must have one place; evidence is
held against its commitments, checkpoints against the order of their times. It does not judge whether what was written
is true. Memory is flat but for 17 bytes for each row of evidence, some 200 for each
body that is gone, and each writer's end.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

from watchkeeper.core.errors import UnavailableError
from watchkeeper.ledger.checks.audit import Audit, Code, VerifyReport
from watchkeeper.ledger.checks.bodies import Bodies
from watchkeeper.ledger.checks.examine import Chains, Findings, Raw, examine
from watchkeeper.ledger.checks.verify import Progress
from watchkeeper.ledger.cosigning.cosigned import faults
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.signing.note import VerifierKey
from watchkeeper.ledger.snapshot import Rows, Snapshot

ALONE = 20_000
"""Up to so many entries no helper process is worth its start."""
MAX_HELPERS = 4


async def fsck(
    reader: LogReader,
    vkey: str,
    anchor: str | None = None,
    progress: Progress | None = None,
    *,
    helpers: int | None = None,
) -> VerifyReport:
    """Reads the whole log under one snapshot, with at most `helpers` processes beside this one."""
    key = VerifierKey.from_vkey(vkey)
    async with reader.snapshot() as log:
        mark, total = await log.pruned(), await log.count()
        check = Fsck(Audit([key], anchor, await log.rotations(), mark), stored=True)
        await check.bodies.load(log)
        wanted = _helpers(total) if helpers is None else helpers
        with _pool(wanted) as pool:
            async for findings in _examined(log, check, mark, pool, 2 * wanted + 1):
                check.take(findings)
                if progress is not None:
                    progress(check.audit.size, max(total, check.audit.size))
        await _stored(log, check)
        pending = await log.pending()
    return check.report(pending, mark)


class Fsck:
    """What is known so far. `stored`: the evidence is here too, so that a body can be missed."""

    def __init__(self, audit: Audit, *, stored: bool) -> None:
        self.audit, self.chains, self.bodies = audit, Chains(), Bodies()
        self._stored = stored
        self._told = 0

    def take(self, findings: Findings | None) -> None:
        """A stretch of entries, in order of the log; None for pruned ones."""
        if findings is None:
            self.chains.hole()
            return
        for where, code in (*findings.problems, *self.chains.join(findings.stretches)):
            self.audit.problem(where, code)
        self.bodies.name(findings.named)
        self.bodies.destroyed(findings.gone)
        self._told = max(self._told, findings.pruned)

    def report(self, pending: int = 0, mark: int = 0) -> VerifyReport:
        if mark > self._told:
            self.audit.problem(f"pruned {mark}", Code.PRUNED_UNTOLD)
        for commitment in self.bodies.differing():
            self.audit.problem(f"evidence {commitment}", Code.EVIDENCE_DIFFERS)
        for commitment in self.bodies.missing() if self._stored else ():
            self.audit.problem(f"evidence {commitment}", Code.EVIDENCE_MISSING)
        report = self.audit.report(pending=pending)
        counted = {"check": "fsck", "evidence": self.bodies.count, "unnamed": self.bodies.unnamed}
        return report.model_copy(update=counted)


def stretches(rows: Rows, mark: int = 0) -> Iterator[list[Raw] | None]:
    """Runs of entries whose bytes are there; None for those that were pruned, below the mark, in between."""
    run: list[Raw] = []
    copies = rows.copies or (None,) * len(rows.indices)
    for index, body, beside in zip(rows.indices, rows.bodies, copies, strict=True):
        if body is not None:
            run.append((index, body, beside))
        elif index < mark:
            if run:
                yield run
                run = []
            yield None
    if run:
        yield run


async def _examined(
    log: Snapshot, check: Fsck, mark: int, pool: ProcessPoolExecutor | None, ahead: int
) -> AsyncIterator[Findings | None]:
    """Findings in the order of the log, at most `ahead` stretches read before they are taken."""
    waiting: deque[asyncio.Future[Findings] | None] = deque()
    loop = asyncio.get_running_loop()
    try:
        async for page in log.pages(copies=True):
            await asyncio.to_thread(check.audit.page, page)
            for stretch in stretches(page.rows, mark):
                waiting.append(None if stretch is None else loop.run_in_executor(pool, examine, stretch))
            while len(waiting) > ahead:
                yield await _result(waiting.popleft())
        while waiting:
            yield await _result(waiting.popleft())
    except BrokenExecutor as error:
        raise UnavailableError(
            "a helper process of fsck ended before its work was done",
            cause="the machine has too little memory",
            next_step="watchkeeper ledger fsck, when less else runs",
        ) from error


async def _result(future: asyncio.Future[Findings] | None) -> Findings | None:
    return None if future is None else await future


async def _stored(log: Snapshot, check: Fsck) -> None:
    """What stands beside the entries: the tree's end, what waits, the writers' rows, one place for each row."""
    audit = check.audit
    audit.beyond(await log.checkpoints_above(audit.size))
    audit.head(*await log.head())
    async for staged in log.waiting():
        check.take(await asyncio.to_thread(examine, staged, "staged"))
    for writer in check.chains.differing(await log.writers()):
        audit.problem(f"writer {writer}", Code.WRITER_HEAD)
    if check.chains.skipped != audit.pruned:
        audit.problem("pruned", Code.PRUNED_DIFFERS)
    accounts = await log.accounts()
    for ids, code in (
        (accounts.lost, Code.LOST),
        (accounts.doubled, Code.DOUBLED),
        (accounts.dangling, Code.DANGLING),
    ):
        for number in ids:
            audit.problem(f"staged {number}", code)
    await _times(log, audit)
    async for found in log.cosigned():
        for where in faults(found):
            audit.problem(where, Code.BAD_COSIGNATURE)


async def _times(log: Snapshot, audit: Audit) -> None:
    """Checkpoints are signed in the order of time, and the head has the last one's."""
    last: str | None = None
    async for signed in log.signing_times():
        for size, time in signed:
            if not time or (last is not None and time < last):
                audit.problem(f"checkpoint {size}", Code.CHECKPOINT_TIME)
            last = time
    if last != await log.last_time():
        audit.problem("head", Code.CHECKPOINT_TIME)


def _helpers(total: int) -> int:
    return 0 if total <= ALONE else min(MAX_HELPERS, os.cpu_count() or 1)


@contextmanager
def _pool(helpers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that examine; None: threads of this one do."""
    if not helpers:
        yield None
        return
    pool = ProcessPoolExecutor(helpers, mp_context=get_context("spawn"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
