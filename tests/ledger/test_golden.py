"""Entries and logs that version 1 wrote: every later version reads, re-serialises, verifies and replays them unchanged.

A failure here means that a format was changed. Never edit or regenerate the files: add a new kind or a new version.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.entries import one_of_each
from tests.testbed.golden import CONDITIONED, CONDITIONS, DECIDED, GOLDEN, LOG, POLICIES, golden_file

from watchkeeper.core.canonical import canonical
from watchkeeper.core.claims import Claim
from watchkeeper.core.decisions import DecisionRecord, Gate, Reason, Verdict
from watchkeeper.core.digest import digest_of
from watchkeeper.core.entries import EntryType, Envelope, PolicyActivated
from watchkeeper.core.plans import Plan
from watchkeeper.ledger.exports.export import exported_entries, verify_export
from watchkeeper.ledger.exports.layout import CHECKPOINT, VKEY
from watchkeeper.ledger.replays.replay import (
    KindCount,
    NotRecomputableError,
    ReasonCount,
    Recomputers,
    ReplayReport,
    replay_check,
)
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.load import load, pack
from watchkeeper.policies.replay.decisions import decision_recomputer


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


def kept_policies(folder: Path = POLICIES) -> dict[str, Policy]:
    """By the version that this code gives to the documents as they were written."""
    compiled = (compile_policy(load(file)) for file in sorted(folder.glob("*.yaml")))
    return {policy.version: policy for policy in compiled}


def replayed(directory: Path, policies: dict[str, Policy]) -> ReplayReport:
    """With the recomputer that the daemon registers; a version that is not among `policies` is not kept."""

    def policy_of(version: str) -> Policy:
        if version not in policies:
            raise NotRecomputableError("policy")
        return policies[version]

    recomputers = Recomputers()
    recomputers.register(EntryType.DECISION, decision_recomputer(policy_of))
    return replay_check(exported_entries(directory), recomputers)


def test_invariant_8_golden_decisions_are_made_again_byte_for_byte() -> None:
    """Made by the policy engine of version 1, from documents that are kept as people wrote them."""
    vkey, anchor = (DECIDED / VKEY).read_text().strip(), (DECIDED / CHECKPOINT).read_text()
    assert verify_export(DECIDED, vkey, anchor).ok
    report = replayed(DECIDED, kept_policies())
    decisions = KindCount(kind=EntryType.DECISION, matched=81)
    assert report == ReplayReport(seen=84, matched=81, differed=(), not_recomputable=(), kinds=(decisions,))


def test_invariant_8_golden_decisions_under_conditions_are_made_again_byte_for_byte() -> None:
    vkey, anchor = (CONDITIONS / VKEY).read_text().strip(), (CONDITIONS / CHECKPOINT).read_text()
    assert verify_export(CONDITIONS, vkey, anchor).ok
    report = replayed(CONDITIONS, kept_policies(CONDITIONED))
    decisions = KindCount(kind=EntryType.DECISION, matched=25)
    assert report == ReplayReport(seen=26, matched=25, differed=(), not_recomputable=(), kinds=(decisions,))


def test_golden_decisions_meet_every_gate_verdict_and_reason() -> None:
    """A rule that none of them walks through could change unseen."""
    typed = [entry.envelope.typed() for log in (DECIDED, CONDITIONS) for entry in exported_entries(log)]
    decisions = [each.decision for each in typed if isinstance(each, DecisionRecord)]
    walked = [result for decision in decisions for result in decision.walk]
    assert {decision.verdict for decision in decisions} == set(Verdict)
    assert {result.gate for result in walked} == set(Gate)
    assert {result.reason for result in walked} == set(Reason)
    assert {each.version for each in typed if isinstance(each, PolicyActivated)} == {
        *kept_policies(),
        *kept_policies(CONDITIONED),
    }


def test_golden_decisions_that_another_policy_would_not_make_differ() -> None:
    shadow = compile_policy(pack("baseline"))
    report = replayed(DECIDED, dict.fromkeys(kept_policies(), shadow))
    assert (report.matched, len(report.differed)) == (0, 81)


def test_decisions_whose_policy_is_not_kept_are_no_match() -> None:
    """The made-up decisions of the first log name a policy that never was."""
    report = replayed(LOG, kept_policies())
    assert (report.seen, report.matched, report.differed) == (260, 0, ())
    assert report.not_recomputable == (ReasonCount(reason="policy", count=13),)
