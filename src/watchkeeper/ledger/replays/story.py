"""The story of an incident: its entries in order, each with its part in the story and the evidence that is still there.

It shows what was recorded and decides nothing. An entry that this version cannot type is shown as it is.
"""

from __future__ import annotations

from collections.abc import Set
from enum import StrEnum

from watchkeeper.core.entries import ENTRY_DATA, EntryType, Envelope
from watchkeeper.core.errors import VerificationError
from watchkeeper.core.evidence import EvidenceKind, EvidenceRef
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract, Instant
from watchkeeper.ledger.evidence.store import Evidence, refs_in
from watchkeeper.ledger.reader import Entry, LogReader
from watchkeeper.ledger.replays.pruned_story import telling_of_pruning

MAX_TEXT = 16_384
"""How many characters of one piece of evidence a story shows."""


class Part(StrEnum):
    """What an entry is in the story, for whoever tells it."""

    SEEN = "seen"
    CONCLUDED = "concluded"
    PROPOSED = "proposed"
    DECIDED = "decided"
    CONSENT = "consent"
    CLAIMED = "claimed"
    CALLED = "called"
    DONE = "done"
    VERIFIED = "verified"
    HELD = "held"
    HANDED_OVER = "handed_over"
    CLOSED = "closed"
    SCORED = "scored"
    PRUNED = "pruned"
    OTHER = "other"


_PARTS = {
    EntryType.INCIDENT_OPENED: Part.SEEN,
    EntryType.FINDING: Part.SEEN,
    EntryType.DIAGNOSIS: Part.CONCLUDED,
    EntryType.PLAN: Part.PROPOSED,
    EntryType.DECISION: Part.DECIDED,
    EntryType.APPROVAL_REQUESTED: Part.CONSENT,
    EntryType.APPROVAL_ANSWERED: Part.CONSENT,
    EntryType.APPROVAL_ESCALATED: Part.CONSENT,
    EntryType.PLAN_EDITED: Part.CONSENT,
    EntryType.ORDER: Part.CONSENT,
    EntryType.CLAIM: Part.CLAIMED,
    EntryType.CLAIM_REFUSED: Part.CLAIMED,
    EntryType.CALL: Part.CALLED,
    EntryType.EFFECT: Part.DONE,
    EntryType.OUTCOME: Part.VERIFIED,
    EntryType.REMEDY: Part.HELD,
    EntryType.ESCALATION: Part.HANDED_OVER,
    EntryType.INCIDENT_CLOSED: Part.CLOSED,
    EntryType.TRUST_OUTCOME: Part.SCORED,
    EntryType.ROLLOUT_JUDGED: Part.SCORED,
    EntryType.ROLLOUT_SET_BACK: Part.SCORED,
    EntryType.ARCHIVED: Part.PRUNED,
    EntryType.ENTRIES_PRUNED: Part.PRUNED,
}


class Gone(StrEnum):
    """Why a body is not there: a person had it erased, or it was older than it is kept for."""

    ERASED = "erased"
    PRUNED = "pruned"


class EvidenceShown(Contract):
    """`text` is None when the body is gone, or is `altered`: no longer what the entry refers to. `cut`
    says that only its beginning is shown."""

    kind: EvidenceKind
    commitment: str
    size: int
    media_type: str
    text: str | None
    cut: bool = False
    gone: Gone | None = None
    altered: bool = False


class StoryStep(Contract):
    index: int
    id: str
    part: Part
    type: str
    at: Instant
    data: dict[str, object]
    evidence: tuple[EvidenceShown, ...] = ()

    def typed(self) -> Contract:
        """The data as its contract. Raises ValueError for a type this version does not know."""
        return ENTRY_DATA[EntryType(self.type)].model_validate(self.data)


async def story(reader: LogReader, evidence: Evidence, incident: IncidentId) -> list[StoryStep]:
    """At most `MAX_READ` steps; what was appended a moment ago may still wait for its index."""
    entries = await telling_of_pruning(reader, await reader.by_subject(incident))
    steps = [await story_step(entry, evidence) for entry in entries]
    missing = any(shown.text is None for step in steps for shown in step.evidence)
    erased = await reader.erased() if missing else frozenset()
    return [_explained(step, erased) for step in steps]


def _explained(step: StoryStep, erased: Set[str]) -> StoryStep:
    def why(shown: EvidenceShown) -> EvidenceShown:
        gone = Gone.ERASED if shown.commitment in erased else Gone.PRUNED
        return shown if shown.text is not None or shown.altered else shown.model_copy(update={"gone": gone})

    return step.model_copy(update={"evidence": tuple(map(why, step.evidence))})


async def story_step(entry: Entry, evidence: Evidence) -> StoryStep:
    envelope = entry.envelope
    known = envelope.type in set(EntryType)
    return StoryStep(
        index=entry.index,
        id=envelope.id,
        part=_PARTS.get(EntryType(envelope.type), Part.OTHER) if known else Part.OTHER,
        type=envelope.type,
        at=envelope.time,
        data=envelope.data,
        evidence=tuple([await _shown(ref, evidence) for ref in _refs(envelope)]) if known else (),
    )


async def _shown(ref: EvidenceRef, evidence: Evidence) -> EvidenceShown:
    body, altered = None, False
    try:
        body = await evidence.get(ref.commitment)
    except VerificationError:
        altered = True
    text = None if body is None else body.decode(errors="replace")
    return EvidenceShown(
        kind=ref.kind,
        commitment=ref.commitment,
        size=ref.size,
        media_type=ref.media_type,
        text=None if text is None else text[:MAX_TEXT],
        cut=text is not None and len(text) > MAX_TEXT,
        altered=altered,
    )


def _refs(envelope: Envelope) -> list[EvidenceRef]:
    """Every evidence reference in the data, once, in order."""
    return list({ref.commitment: ref for ref in refs_in(envelope.typed())}.values())
