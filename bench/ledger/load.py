"""What is appended and checked: entries as an installation writes them, and a log of any size made of them.

Kinds come in the proportions of incidents, with decisions over again; floats are drawn anew. The draws are seeded, so
that every run and every rival has the same bytes. It is no claim about anybody's own mix.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.testbed.entries import PERSON, one_of_each

from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.digest import digest_of
from watchkeeper.core.entries import Draft, EntryType, EvidenceErased, FindingRecorded
from watchkeeper.core.evidence import EvidenceRef
from watchkeeper.core.findings import Observation, Sign
from watchkeeper.core.model import Contract

ORIGIN = "log.example.com/bench"
DECISIONS = 6
"""Of one incident: a plan is decided anew at every look."""


def incident(rng: random.Random) -> list[Draft]:
    """One of each kind, and more decisions; the golden finding's extreme numbers made everyday ones."""
    drafts = dict(one_of_each())
    decided = [_decision(drafts[EntryType.DECISION], rng) for _ in range(DECISIONS)]
    drafts[EntryType.FINDING] = _finding(drafts[EntryType.FINDING], rng)
    return [*drafts.values(), *decided]


def _decision(draft: Draft, rng: random.Random) -> Draft:
    data = draft.data
    assert isinstance(data, DecisionRecord)
    asked = data.input.model_copy(update={"confidence": round(rng.uniform(0.5, 0.99), 2)})
    decision = data.decision.model_copy(update={"input_digest": digest_of(asked)})
    return draft.model_copy(update={"data": data.model_copy(update={"input": asked, "decision": decision})})


def _finding(draft: Draft, rng: random.Random) -> Draft:
    data = draft.data
    assert isinstance(data, FindingRecorded)
    seen = (
        Observation(
            sign=Sign.RATE_OVER_BASELINE, observed=round(rng.uniform(50, 500), 2), expected=12.5, unit="calls/min"
        ),
        Observation(sign=Sign.NO_TERMINATION, observed=float(rng.randint(10, 99)), expected=4.75, unit="steps"),
    )
    finding = data.finding.model_copy(update={"observations": seen})
    return draft.model_copy(update={"data": data.model_copy(update={"finding": finding})})


def drafts(seed: int, count: int) -> list[Draft]:
    """Exactly so many, in the order of incidents; no more than a few hundred different ones."""
    rng = random.Random(seed)
    variety = [draft for _ in range(8) for draft in incident(rng)]
    return [variety[n % len(variety)] for n in range(count)]


def destroyed(all_drafts: list[Draft]) -> Draft:
    """The entry by which fsck knows that the bodies these drafts name are not in the store: they never were."""
    refs = {ref.commitment: ref for draft in all_drafts for ref in _refs(draft.data)}
    return Draft(type=EntryType.EVIDENCE_ERASED, subject="", data=EvidenceErased(erased=(*refs.values(),), by=PERSON))


def _refs(value: object) -> Iterator[EvidenceRef]:
    if isinstance(value, EvidenceRef):
        yield value
    elif isinstance(value, Contract | tuple):
        for each in value.__dict__.values() if isinstance(value, Contract) else value:
            yield from _refs(each)


def groups(all_drafts: list[Draft], size: int) -> Iterator[list[Draft]]:
    for first in range(0, len(all_drafts), size):
        yield all_drafts[first : first + size]
