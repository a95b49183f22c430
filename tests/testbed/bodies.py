"""Bodies for the evidence that a test's entries name: without them fsck rightly misses each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from watchkeeper.core.entries import Draft, EvidenceErased
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.model import Contract
from watchkeeper.ledger.evidence.store import Evidence, refs_in


async def with_bodies(tx: AsyncConnection, evidence: Evidence, drafts: Sequence[Draft]) -> list[Draft]:
    """The same drafts, which name bodies that are kept in this transaction. What they say was erased is not there."""
    erased = {ref for draft in drafts if isinstance(draft.data, EvidenceErased) for ref in draft.data.erased}
    named = dict.fromkeys(ref for draft in drafts for ref in refs_in(draft.data) if ref not in erased)
    kept = {ref: await evidence.put(tx, ref.kind, ref.commitment.encode(), ref.media_type) for ref in named}
    return [Draft(type=draft.type, subject=draft.subject, data=_renamed(draft.data, kept)) for draft in drafts]


def _renamed(model: Contract, kept: Mapping[EvidenceRef, EvidenceRef]) -> Contract:
    names = type(model).model_fields
    return model.model_copy(update={name: _within(getattr(model, name), kept) for name in names})


def _within(value: object, kept: Mapping[EvidenceRef, EvidenceRef]) -> object:
    if isinstance(value, EvidenceRef):
        return kept.get(value, value)
    if isinstance(value, Contract):
        return _renamed(value, kept)
    return tuple(_within(item, kept) for item in value) if type(value) is tuple else value
