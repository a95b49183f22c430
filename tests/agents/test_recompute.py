"""Findings and diagnoses made again from their recorded basis: the same, byte for byte, while basis and code are there;
what is changed is found, and what is gone is no match (invariant 8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select, update
from tests.testbed.stores import tampering
from tests.testbed.troubles import Recorded, recorded, troubled

from watchkeeper.agents import manifest, recompute
from watchkeeper.agents.detector import basis, drafting, provider_outage, runaway_loop, token_cost
from watchkeeper.agents.detector.basis import Basis, kept
from watchkeeper.agents.detector.token_cost import Rate
from watchkeeper.agents.diagnoser import gateway
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.digest import sha256
from watchkeeper.core.entries import EntryType, FindingRecorded
from watchkeeper.core.findings import FailureMode, Finding
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.ledger.evidence.redaction import Redactor
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.ledger.replays.recomputers import NotRecomputableError, OtherwiseError
from watchkeeper.ledger.replays.replay import (
    KindCount,
    ReasonCount,
    Recomputers,
    ReplayReport,
    replay_check,
    replay_log,
)
from watchkeeper.ledger.tables import evidence as bodies
from watchkeeper.store.engine import Store

MODES = {FailureMode.RUNAWAY_LOOP, FailureMode.PROVIDER_OUTAGE, FailureMode.COST_SPIKE}


def recomputers() -> Recomputers:
    known = Recomputers()
    recompute.register(known)
    return known


async def replayed(made: Recorded) -> ReplayReport:
    return await replay_log(made.log.reader.iterate(), recomputers(), made.evidence.get)


def remake(finding: Finding, body: bytes) -> Contract:
    """The finding made again from a basis at hand."""
    return recompute.FINDING.recompute(FindingRecorded(incident=IncidentId("inc_1"), finding=finding), body)


async def about(made: Recorded, mode: FailureMode) -> list[str]:
    """The ids of the entries of findings of a mode."""
    found = []
    for entry in await made.entries():
        data = entry.envelope.typed()
        if isinstance(data, FindingRecorded) and data.finding.mode is mode:
            found.append(entry.envelope.id)
    return found


async def basis_of(made: Recorded, mode: FailureMode) -> str:
    """The commitment of the basis of the finding of a mode."""
    (entry,) = await about(made, mode)
    known = await made.log.reader.by_id(entry)
    assert known is not None
    data = known.envelope.typed()
    assert isinstance(data, FindingRecorded)
    return data.finding.evidence[0].commitment


async def test_invariant_8_every_finding_and_diagnosis_is_made_again_the_same(store: Store) -> None:
    made = await recorded(store)
    assert {each.finding.mode for each in troubled().found} == MODES
    report = await replayed(made)
    assert (report.matched, report.differed, report.not_recomputable) == (4, (), ())
    assert report.kinds == (
        KindCount(kind=EntryType.DIAGNOSIS, matched=1),
        KindCount(kind=EntryType.FINDING, matched=3),
    )


def _twice(measure: Callable[..., Rate | None]) -> Callable[..., Rate | None]:
    def doubled(*given: object) -> Rate | None:
        rate = measure(*given)
        return None if rate is None else rate._replace(live=rate.live * 2)

    return doubled


@pytest.mark.parametrize(
    ("module", "name", "changed", "mode"),
    [
        (runaway_loop, "_strongest", lambda seen: tuple(seen)[:1], FailureMode.RUNAWAY_LOOP),
        (provider_outage, "_MINOR", 0.99, FailureMode.PROVIDER_OUTAGE),
        (token_cost, "measure", _twice(token_cost.measure), FailureMode.COST_SPIKE),
        (token_cost, "_spikes", lambda *given: False, FailureMode.COST_SPIKE),
    ],
)
async def test_invariant_8_a_changed_judgement_flags_exactly_the_findings_it_affects(
    store: Store, monkeypatch: pytest.MonkeyPatch, module: object, name: str, changed: object, mode: FailureMode
) -> None:
    made = await recorded(store)
    monkeypatch.setattr(module, name, changed)
    report = await replayed(made)
    assert list(report.differed) == await about(made, mode)
    assert (report.matched, report.not_recomputable, report.ok) == (3, (), False)
    assert report.differences[0].paths[0].path.startswith("finding")


async def test_invariant_8_a_judgement_that_asks_for_what_was_not_read_differs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await recorded(store)
    monkeypatch.setattr(drafting, "CHANGED_BEFORE", timedelta(hours=1))
    report = await replayed(made)
    assert list(report.differed) == await made.of(EntryType.FINDING)
    assert report.differences[0].paths[0].again == "asks for what was not read"


async def test_invariant_8_a_changed_diagnoser_flags_the_diagnosis_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await recorded(store)
    monkeypatch.setattr(gateway, "GOOD_ENOUGH", 0.99)
    report = await replayed(made)
    assert list(report.differed) == await made.of(EntryType.DIAGNOSIS)
    assert [change.path for change in report.differences[0].paths] == ["novel"]


async def test_invariant_8_a_pruned_basis_is_no_match(store: Store) -> None:
    made = await recorded(store)
    gone = await basis_of(made, FailureMode.COST_SPIKE)
    async with store.write() as tx:
        await tx.execute(delete(bodies).where(bodies.c.commitment == gone))
    report = await replayed(made)
    assert (report.matched, report.differed) == (3, ())
    assert report.not_recomputable == (ReasonCount(reason="pruned", count=1),)


async def test_invariant_8_without_evidence_nothing_that_needs_it_is_made_again(store: Store) -> None:
    made = await recorded(store)
    report = replay_check(await made.entries(), recomputers())
    assert (report.matched, report.not_recomputable) == (0, (ReasonCount(reason="pruned", count=4),))


async def test_invariant_8_other_code_is_no_match(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await recorded(store)
    known = manifest.manifest_digest

    def changed(specialist: str) -> str:
        return "sha256:other" if specialist == manifest.RUNAWAY_LOOP else known(specialist)

    monkeypatch.setattr(recompute, "manifest_digest", changed)
    report = await replayed(made)
    assert (report.matched, report.differed) == (3, ())
    assert report.not_recomputable == (ReasonCount(reason="code", count=1),)


async def test_invariant_8_an_altered_basis_is_told_as_such(store: Store) -> None:
    made = await recorded(store)
    name = await basis_of(made, FailureMode.PROVIDER_OUTAGE)
    other = await basis_of(made, FailureMode.COST_SPIKE)
    async with tampering(store) as tx:
        taken = (await tx.execute(select(bodies.c.body).where(bodies.c.commitment == other))).scalar_one()
        await tx.execute(update(bodies).where(bodies.c.commitment == name).values(body=taken))
    report = await replayed(made)
    assert (report.matched, report.not_recomputable) == (3, (ReasonCount(reason="altered", count=1),))
    assert (list(report.altered), report.ok) == (await about(made, FailureMode.PROVIDER_OUTAGE), False)


async def test_invariant_8_a_basis_that_is_not_the_recorded_one_differs() -> None:
    """Whoever writes the entry could name another basis than it judged by; that is no match either."""
    first, second = troubled().found[:2]
    with pytest.raises(OtherwiseError, match="state_digest"):
        remake(first.finding, second.snapshot)


async def test_a_basis_that_this_version_cannot_read_is_no_match() -> None:
    finding = troubled().found[0].finding.model_copy(update={"state_digest": sha256(b"{}")})
    with pytest.raises(NotRecomputableError, match="unreadable"):
        remake(finding, b"{}")


async def test_a_basis_out_of_which_something_was_redacted_says_so(store: Store) -> None:
    """What the evidence store took out cannot be judged by."""
    made = await recorded(store, Evidence(store, Redactor([SecretStr("loop-research")])))
    report = await replayed(made)
    assert (report.matched, report.differed) == (2, ())
    assert report.not_recomputable == (ReasonCount(reason="redacted", count=2),), "the loop, and what rests on it"


async def test_a_basis_that_does_not_fit_keeps_what_is_about_the_subject_and_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    detected = next(each for each in troubled().found if each.finding.mode is FailureMode.COST_SPIKE)
    whole = Basis.model_validate_json(detected.snapshot)
    monkeypatch.setattr(basis, "MAX_SNAPSHOT", len(detected.snapshot) - 1)
    cut = kept(whole, detected.finding.subject)
    left = Basis.model_validate_json(cut)
    assert (left.whole, left.case, len(cut) < len(detected.snapshot)) == (False, None, True)
    assert left.facts is not None
    assert [row.of for row in left.facts.steps] == [detected.finding.subject]
    with pytest.raises(NotRecomputableError, match="too_large"):
        remake(detected.finding.model_copy(update={"state_digest": sha256(cut)}), cut)
    monkeypatch.setattr(basis, "MAX_SNAPSHOT", 1000)
    assert Basis.model_validate_json(kept(whole, detected.finding.subject)).facts is None


async def test_a_diagnosis_that_names_no_basis_was_not_kept(store: Store) -> None:
    made = await recorded(store)
    (entry,) = [each for each in await made.entries() if each.envelope.type == EntryType.DIAGNOSIS]
    data = entry.envelope.typed()
    assert isinstance(data, Diagnosis)
    older = data.model_copy(update={"evidence": ()}).model_dump(mode="json")
    envelope = entry.envelope.model_copy(update={"data": older})
    bound = await recomputers().bound(envelope, made.evidence.get)
    assert bound is not None
    with pytest.raises(Exception, match="not_kept"):
        bound(data)
