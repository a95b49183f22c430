"""The live timeline: each ledger entry as a line or two that a person enjoys reading. Pure: from entries to lines.

It tells what matters of a demo, not everything: `watchkeeper ledger show` does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import singledispatch

from watchkeeper.cli.tell import number
from watchkeeper.core import consents, entries
from watchkeeper.core.claims import Claim
from watchkeeper.core.decisions import DecisionRecord, Verdict
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.model import Contract, Scalar
from watchkeeper.core.outcomes import EffectOutcome, Outcome, Recovery
from watchkeeper.core.plans import Plan
from watchkeeper.core.remedies import RemedyStatus


@dataclass(frozen=True)
class Said:
    """`label` is the verb in the margin; `style` is rich's."""

    label: str
    text: str
    style: str = ""


@singledispatch
def said(data: Contract) -> Iterator[Said]:
    """Nothing, for the kinds that a newcomer need not see."""
    yield from ()


@said.register
def _policy(data: entries.PolicyActivated) -> Iterator[Said]:
    yield Said("policy", f"{len(data.documents)} document(s) put in force by {data.by.id}", "dim")


@said.register
def _finding(data: entries.FindingRecorded) -> Iterator[Said]:
    found = data.finding
    yield Said("SEEN", f"{found.mode.replace('_', ' ')}: {found.subject.kind} {short(found.subject.id)}", "bold yellow")
    for seen in found.observations[:2]:
        sign = seen.sign.replace("_", " ")
        yield Said("", f"{sign}: {number(seen.observed)} {seen.unit}, expected {number(seen.expected)}")


@said.register
def _diagnosis(data: Diagnosis) -> Iterator[Said]:
    if data.novel or not data.causes:
        yield Said("CONCLUDED", "nothing known explains it: a person is called", "bold cyan")
        return
    cause = data.causes[0]
    signs = ", ".join(sign.replace("_", " ") for sign in cause.signs)
    text = f"{cause.subject.kind} {short(cause.subject.id)} is the cause ({cause.confidence:.0%} sure"
    yield Said("CONCLUDED", f"{text}: {signs})" if signs else f"{text})", "bold cyan")


@said.register
def _plan(data: Plan) -> Iterator[Said]:
    yield Said("PROPOSED", data.runbook.name, "bold blue")
    for change in data.changes:
        for field in change.fields:
            target = f"{change.target.kind} {short(change.target.id)}"
            yield Said("", f"{target}: {field.path} {value(field.before)} → {value(field.after)}")
    level = data.verification.sli
    subject = f"{level.subject.kind} {short(level.subject.id)}"
    yield Said("", f"recovered when {level.measure} of {subject} {level.op} {number(level.threshold)}")


@said.register
def _decision(data: DecisionRecord) -> Iterator[Said]:
    decision, passed = data.decision, sum(step.passed for step in data.decision.walk)
    word = {
        Verdict.ALLOW: "it may act alone",
        Verdict.REQUIRE_APPROVAL: "a person must approve",
        Verdict.SHADOW: "shadow: touch nothing",
        Verdict.DENY: "no",
    }[decision.verdict]
    yield Said("POLICY", f"{word} ({passed} of {len(decision.walk)} gates passed)", "bold magenta")
    for step in decision.blocking[:2]:
        yield Said("", f"{step.gate}: {step.reason.replace('_', ' ')} ({step.node})")


@said.register
def _answered(data: consents.ApprovalAnswered) -> Iterator[Said]:
    nobody = "another plan" if data.answer is consents.ApprovalAnswer.SUPERSEDED else "nobody in time"
    who = nobody if data.by is None else f"{data.by.id}, via {data.via}"
    yield Said("CONSENT", f"{data.answer} by {who}", "bold yellow")


@said.register
def _claim(data: Claim) -> Iterator[Said]:
    yield Said("CLAIMED", f"{data.phase} of step {data.step + 1}, once, within {_claim_s(data):.0f} s", "dim")


@said.register
def _refused(data: entries.ClaimRefused) -> Iterator[Said]:
    yield Said("REFUSED", data.reason.replace("_", " "), "bold red")


@said.register
def _effect(data: EffectOutcome) -> Iterator[Said]:
    style = "green" if data.effect == "succeeded" else "bold red"
    yield Said("DONE", f"{data.effect} ({data.code.replace('_', ' ')})", style)


@said.register
def _outcome(data: Outcome) -> Iterator[Said]:
    reading = data.sli
    style = "bold green" if data.recovery is Recovery.RECOVERED else "yellow"
    now = "" if reading is None or reading.value is None else f": now {number(reading.value)}"
    guards = f", {len(data.guards)} guard(s) held" if data.recovery is Recovery.RECOVERED and data.guards else ""
    wanted = "" if reading is None else f" (wanted {reading.sli.op} {number(reading.sli.threshold)})"
    yield Said("VERIFIED", f"{data.recovery.replace('_', ' ')}{now}{wanted}{guards}", style)


@said.register
def _remedy(data: entries.RemedyRecorded) -> Iterator[Said]:
    remedy = data.remedy
    target = f"{remedy.change.target.kind} {short(remedy.change.target.id)}"
    match remedy.status:
        case RemedyStatus.IN_FORCE:
            yield Said("HELD", f"{target} stays changed until {remedy.expires:%H:%M} UTC at the latest", "dim")
        case RemedyStatus.RELEASING:
            yield Said("RELEASED", f"{target}: {remedy.given_back:.0%} given back", "cyan")
        case RemedyStatus.RELEASED:
            yield Said("RELEASED", f"{target}: exactly as it was before", "cyan")
        case RemedyStatus.UNDONE:
            yield Said("UNDONE", f"{target}: exactly as it was before", "bold red")
        case RemedyStatus.LOST:
            yield Said("LOST", f"{target}: somebody else changed it, so nothing was touched", "bold red")
        case RemedyStatus.KEPT:
            yield Said("KEPT", f"{target} stays as it is now", "cyan")


@said.register
def _escalated(data: entries.Escalated) -> Iterator[Said]:
    yield Said("ESCALATED", f"to a person: {data.reason.replace('_', ' ')}", "bold red")
    for step in data.not_undone:
        yield Said("ESCALATED", f"could not be undone: {step.intent} {step.target} ({step.why})", "bold red")


@said.register
def _closed(data: entries.IncidentClosed) -> Iterator[Said]:
    yield Said("CLOSED", data.resolution.replace("_", " "), "bold green")


def _claim_s(claim: Claim) -> float:
    return (claim.not_after - claim.taken).total_seconds()


def short(name: str) -> str:
    """Key hashes are long; the first ten characters tell them apart."""
    return f"{name[:10]}…" if len(name) > 24 else name


def value(scalar: Scalar) -> str:
    return "unset" if scalar is None else str(scalar)
