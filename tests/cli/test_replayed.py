"""An incident replayed, as lines: every kind of step, each answer, within 80 columns."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.testbed.entries import one_of_each
from tests.testbed.traffic import START
from tests.testbed.troubles import troubled

from watchkeeper.api.ledger.incident_replay import ReplayedStep
from watchkeeper.cli.out import WIDTH
from watchkeeper.cli.replayed import lines
from watchkeeper.core.entries import EntryType, FindingRecorded
from watchkeeper.core.evidence import EvidenceKind
from watchkeeper.core.findings import FailureMode
from watchkeeper.core.ids import IncidentId
from watchkeeper.core.model import Contract
from watchkeeper.ledger.replays.again import Again, Made
from watchkeeper.ledger.replays.differences import PathChange
from watchkeeper.ledger.replays.story import EvidenceShown, Part, StoryStep

SAME = Again(made=Made.SAME)


def step(
    kind: EntryType,
    data: Contract,
    again: Again | None = None,
    basis: bytes | None = None,
    evidence: tuple[EvidenceShown, ...] = (),
) -> dict[str, Any]:
    body = data.model_dump(mode="json")
    told = StoryStep(index=1, id="ent_1", part=Part.OTHER, type=kind, at=START, data=body, evidence=evidence)
    read = None if basis is None else json.loads(basis)
    return ReplayedStep(step=told, again=again, basis=read).model_dump(mode="json")


def text(*steps: dict[str, Any]) -> str:
    return "\n".join(line.text for line in lines(steps))


def found(mode: FailureMode, again: Again | None = SAME) -> str:
    detected = next(each for each in troubled().found if each.finding.mode is mode)
    data = FindingRecorded(incident=IncidentId("inc_1"), finding=detected.finding)
    return text(step(EntryType.FINDING, data, again, detected.snapshot))


@pytest.mark.parametrize("kind", EntryType)
def test_every_kind_of_step_is_told_in_80_columns(kind: EntryType) -> None:
    told = text(step(kind, one_of_each()[kind].data, SAME))
    assert all(len(line) <= WIDTH for line in told.splitlines())
    assert "= made again, the same byte for byte" in told


@pytest.mark.parametrize(
    ("mode", "read"),
    [
        (FailureMode.RUNAWAY_LOOP, "← run       loop-research-201: 160 model calls, 160 tool calls"),
        (FailureMode.COST_SPIKE, "← series    key:key-support, US dollars per 10 s"),
        (FailureMode.PROVIDER_OUTAGE, "← buckets   deployment:dep-1: 00:03:44 2 served, 8 server"),
    ],
)
def test_a_finding_tells_what_was_read_and_the_thresholds(mode: FailureMode, read: str) -> None:
    told = found(mode)
    assert read in told
    assert "← thresholds" in told
    assert "← link      " in told
    assert all(len(line) <= WIDTH for line in told.splitlines())


def test_a_difference_says_where() -> None:
    change = PathChange(path="finding.severity", recorded='"critical"', again='"warning"')
    told = found(FailureMode.COST_SPIKE, Again(made=Made.DIFFERS, paths=(change,)))
    assert "≠ made again, it differs" in told
    assert 'finding.severity: recorded "critical", again "warning"' in told


@pytest.mark.parametrize("reason", ["pruned", "code", "altered", "redacted", "too_large", "not_kept", "unreadable"])
def test_what_cannot_be_made_again_says_why(reason: str) -> None:
    told = found(FailureMode.COST_SPIKE, Again(made=Made.NOT_RECOMPUTABLE, reason=reason))
    assert f"? not recomputable ({reason}): " in told
    assert "cannot be made again" not in told


def test_a_basis_that_is_gone_or_of_another_version_is_named() -> None:
    data = one_of_each()[EntryType.FINDING].data
    assert "not shown here" in text(step(EntryType.FINDING, data))
    assert "of another version" in text(step(EntryType.FINDING, data, basis=b'{"made": "otherwise"}'))


def test_a_call_shows_its_request_and_reply_and_no_control_characters() -> None:
    shown = tuple(
        EvidenceShown(kind=kind, commitment=f"hmac-sha256:{n}", size=9, media_type="application/json", text=said)
        for n, (kind, said) in enumerate([(EvidenceKind.REQUEST, '{"rpm": 30}'), (EvidenceKind.REPLY, "\x1b[2J ok")])
    )
    told = text(step(EntryType.CALL, one_of_each()[EntryType.CALL].data, evidence=shown))
    assert '│ {"rpm": 30}' in told
    assert "ok" in told
    assert "\x1b" not in told


def test_an_altered_body_is_told_as_such() -> None:
    gone = EvidenceShown(
        kind=EvidenceKind.REPLY, commitment="hmac-sha256:1", size=9, media_type="text/plain", text=None, altered=True
    )
    assert "ALTERED since it was recorded" in text(
        step(EntryType.CALL, one_of_each()[EntryType.CALL].data, evidence=(gone,))
    )
