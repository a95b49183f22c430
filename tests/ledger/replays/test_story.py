"""The story of an incident: every entry in order, with the evidence that is still there."""

from __future__ import annotations

from sqlalchemy import delete
from tests.testbed.entries import INCIDENT, one_of_each
from tests.testbed.ledgers import Log, draft

from watchkeeper.core.entries import CallRecorded, Draft, EntryType
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.replays import story as module
from watchkeeper.ledger.replays.story import MAX_TEXT, Part, StoryStep, story
from watchkeeper.ledger.tables import evidence as table
from watchkeeper.store.engine import Store


async def told(log: Log, store: Store) -> list[StoryStep]:
    return await story(log.reader, Evidence(store), INCIDENT)


async def test_an_incident_is_told_in_order(store: Store) -> None:
    log, drafts = Log(store), one_of_each()
    await log.append(*drafts.values(), draft(subject="inc_other"))
    await log.sequencer.run_once()
    steps = await told(log, store)
    ours = [made for made in drafts.values() if made.subject == INCIDENT]
    assert [step.type for step in steps] == [made.type for made in ours]
    assert [step.typed() for step in steps] == [made.data for made in ours]
    assert Part.OTHER not in {step.part for step in steps}
    assert [step.part for step in steps][:4] == [Part.SEEN, Part.SEEN, Part.CONCLUDED, Part.PROPOSED]


async def test_a_call_is_shown_with_what_was_said(store: Store) -> None:
    log, evidence = Log(store), Evidence(store)
    call = one_of_each()[EntryType.CALL].data
    assert isinstance(call, CallRecorded)
    async with store.write() as tx:
        request = await evidence.put(tx, EvidenceKind.REQUEST, b'{"rpm_limit": 30}')
        reply = await evidence.put(tx, EvidenceKind.REPLY, b"x" * (MAX_TEXT + 1), "text/plain")
        data = call.model_copy(update={"request": request, "reply": reply})
        await log.ledger.append(tx, Draft(type=EntryType.CALL, subject=INCIDENT, data=data))
    await log.sequencer.run_once()
    (step,) = await told(log, store)
    assert [shown.kind for shown in step.evidence] == [EvidenceKind.REQUEST, EvidenceKind.REPLY]
    assert step.evidence[0].text == '{"rpm_limit": 30}'
    assert (len(step.evidence[1].text or ""), step.evidence[1].cut) == (MAX_TEXT, True)
    async with store.write() as tx:
        await tx.execute(delete(table))
    assert [shown.text for shown in (await told(log, store))[0].evidence] == [None, None]


async def test_a_kind_of_a_later_version_is_shown_as_it_is(store: Store) -> None:
    log = Log(store)
    await log.grow(1)
    (entry,) = await log.reader.entries(0, 1)
    later = entry.model_copy(
        update={"envelope": entry.envelope.model_copy(update={"type": "dev.watchkeeper.later.v2"})}
    )
    step = await module.story_step(later, Evidence(store))
    assert (step.part, step.data, step.evidence) == (Part.OTHER, entry.envelope.data, ())


async def test_the_same_evidence_is_shown_once(store: Store) -> None:
    log = Log(store)
    finding = one_of_each()[EntryType.FINDING]
    twice = finding.data.model_dump()
    twice["finding"]["evidence"] = twice["finding"]["evidence"][:1] * 2
    data = type(finding.data).model_validate(twice)
    await log.append(Draft(type=EntryType.FINDING, subject=INCIDENT, data=data))
    await log.sequencer.run_once()
    (step,) = await told(log, store)
    assert len(step.evidence) == 1
    assert step.evidence[0].text is None
