"""Keeps calls in the ledger: the request durable before the send, the entry with the reply's evidence after it.

A request whose process died before `finish` stays in the evidence store without an entry; the CLAIM entry says that
an effect was permitted, and `observe` settles what became of it.
"""

from __future__ import annotations

from watchkeeper.adapters.recorder import Call
from watchkeeper.core.entries import CallRecorded, Draft, EntryType
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.store.engine import Priority, Store


class LedgerCallSink:
    def __init__(self, store: Store, ledger: Ledger, evidence: Evidence) -> None:
        self._store, self._ledger, self._evidence = store, ledger, evidence

    async def begin(self, call: Call, media_type: str) -> EvidenceRef:
        async with self._store.write(Priority.CLAIM) as tx:
            return await self._evidence.put(tx, EvidenceKind.REQUEST, call.body, media_type)

    async def finish(self, call: CallRecorded, reply: bytes | None, media_type: str) -> None:
        async with self._store.write(Priority.CLAIM) as tx:
            if reply is not None:
                ref = await self._evidence.put(tx, EvidenceKind.REPLY, reply, media_type)
                call = call.model_copy(update={"reply": ref})
            await self._ledger.append(tx, Draft(type=EntryType.CALL, subject=call.incident or "", data=call))
