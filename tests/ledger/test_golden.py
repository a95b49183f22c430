"""Entries and a log that version 1 wrote: every later version reads, re-serialises and verifies them unchanged.

A failure here means that a format was changed. Never edit or regenerate the files: add a new kind or a new version.
"""

from __future__ import annotations

import pytest
from tests.testbed.entries import one_of_each
from tests.testbed.golden import GOLDEN, LOG, golden_file

from watchkeeper.core.canonical import canonical
from watchkeeper.core.claims import Claim
from watchkeeper.core.decisions import DecisionRecord
from watchkeeper.core.digest import digest_of
from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.plans import Plan
from watchkeeper.ledger.export import CHECKPOINT, VKEY, exported_entries, verify_export
from watchkeeper.ledger.replay import Recomputers, replay_check


def golden(kind: EntryType) -> Envelope:
    return Envelope.model_validate_json(golden_file(kind).read_bytes())


def test_every_kind_has_a_golden_entry() -> None:
    assert {path.name for path in GOLDEN.glob("*.json")} == {golden_file(kind).name for kind in EntryType}
    assert set(one_of_each()) == set(EntryType)


@pytest.mark.parametrize("kind", EntryType)
def test_a_golden_entry_reads_and_writes_back(kind: EntryType) -> None:
    envelope = golden(kind)
    assert envelope.to_bytes() == golden_file(kind).read_bytes()
    typed = envelope.typed()
    written = typed.model_dump(mode="json", exclude_unset=True)  # fields that later versions added are not in it
    assert canonical(written) == canonical(dict(envelope.data))  # type: ignore[arg-type]


def test_digests_of_golden_contracts_are_what_they_were() -> None:
    """A plan hash or an input digest that a later version computes differently would break old approvals and replay."""
    plan, record, claim = (golden(kind).typed() for kind in (EntryType.PLAN, EntryType.DECISION, EntryType.CLAIM))
    assert isinstance(plan, Plan)
    assert isinstance(record, DecisionRecord)
    assert isinstance(claim, Claim)
    assert plan.plan_hash == claim.plan_hash == record.input.plan_hash
    assert digest_of(record.input) == record.decision.input_digest


def test_the_golden_log_verifies() -> None:
    vkey, anchor = (LOG / VKEY).read_text().strip(), (LOG / CHECKPOINT).read_text()
    report = verify_export(LOG, vkey, anchor)
    assert (report.ok, report.size, report.checkpoints, report.rollback) == (True, 260, 13, "excluded")
    assert report.root == "jF3yQDCzc2OYMrmaQPPqqdylunNjV6AqJnvyLt2k+Kg="


def test_the_golden_log_replays() -> None:
    recomputers = Recomputers()
    for kind in EntryType:
        recomputers.register(kind, lambda recorded: recorded.model_copy())
    report = replay_check(exported_entries(LOG), recomputers)
    assert (report.seen, report.matched, report.differed, report.not_recomputable) == (260, 260, (), ())
