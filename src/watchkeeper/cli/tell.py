"""Each kind of entry in words: a headline, then details. Knows the contracts of core, and no room."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch

from watchkeeper.core import consents, entries
from watchkeeper.core.actions import Change
from watchkeeper.core.agents import StandingChanged
from watchkeeper.core.claims import Claim
from watchkeeper.core.decisions import ApprovalTerms, DecisionRecord, GateResult
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.model import Contract, Scalar
from watchkeeper.core.outcomes import EffectOutcome, Outcome
from watchkeeper.core.plans import Plan
from watchkeeper.core.rollout import RolloutAdvanced, RolloutJudged, RolloutSetBack
from watchkeeper.core.sli import Sli, SliReading
from watchkeeper.core.subjects import Edge
from watchkeeper.core.trust import Credit, Origin, TrustOutcome


@singledispatch
def told(data: Contract) -> Iterator[str]:
    """The headline first. A kind with no words of its own is named by its class."""
    yield type(data).__name__


@told.register
def _opened(data: entries.IncidentOpened) -> Iterator[str]:
    yield f"incident {data.incident} in {data.scope}"
    if data.relapse_of is not None:
        yield f"relapse {data.relapses} of {data.relapse_of}"


@told.register
def _finding(data: entries.FindingRecorded) -> Iterator[str]:
    found = data.finding
    yield f"{found.mode} of {found.subject}: {found.severity}"
    yield f"since {found.onset:%H:%M:%S} UTC, by detector {found.detector}" + (", estimated" if found.estimated else "")
    for seen in found.observations:
        yield f"{seen.sign}: {number(seen.observed)} {seen.unit}, expected {number(seen.expected)}"
    for part in found.attribution:
        yield f"caused {part.share:.0%} by {part.subject}"
    yield from map(edge, found.edges)


@told.register
def _diagnosis(data: Diagnosis) -> Iterator[str]:
    yield "nothing known explains it (novel)" if data.novel else f"{len(data.causes)} possible cause(s)"
    for cause in data.causes:
        yield f"{cause.confidence:.0%} {cause.mode} at {cause.subject}"
        if cause.signs:
            yield f"  because of {', '.join(cause.signs)}"
        for step in cause.path:
            yield f"  {edge(step)}"


@told.register
def _plan(data: Plan) -> Iterator[str]:
    yield f"runbook {data.runbook.name}"
    yield f"plan {data.id}, hash {short(data.plan_hash)}"
    for change in data.changes:
        yield from changed(change)
    yield f"recovered when {sli(data.verification.sli)}"
    for guard in data.verification.guards:
        yield f"  and meanwhile {sli(guard)}"
    yield "read after " + ", ".join(f"{number(horizon)} s" for horizon in data.verification.horizons_s)
    if data.release is None:
        yield f"not given back by us; ends after {number(data.remedy_ttl_s)} s"
    else:
        steps = ", ".join(f"{step:.0%}" for step in data.release.steps)
        yield f"held {number(data.release.hold_s)} s, then given back: {steps}"


@told.register
def _decision(data: DecisionRecord) -> Iterator[str]:
    decision = data.decision
    yield f"{decision.verdict.replace('_', ' ')} (autonomy {decision.autonomy})"
    yield f"policy {short(decision.policy_version)}, decision {data.id}"
    yield from map(gate, decision.walk)
    for terms in decision.approvals:
        yield f"needs {needed(terms)} within {terms.ttl_s} s ({terms.node})"


@told.register
def _asked(data: consents.ApprovalRequested) -> Iterator[str]:
    yield f"asked for approval {data.approval} until {data.expires:%H:%M:%S} UTC"
    yield f"of plan hash {short(data.plan_hash)}"
    if data.authors:
        yield f"edited by {', '.join(data.authors)}"
    if data.supersedes:
        yield f"instead of {', '.join(data.supersedes)}"


@told.register
def _answered(data: consents.ApprovalAnswered) -> Iterator[str]:
    by = "" if data.by is None else f" by {data.by.id}, known by {data.by.authenticated_by}"
    yield f"{data.answer}{by}" + (f", via {data.via}" if data.via else "")


@told.register
def _asked_more(data: consents.ApprovalEscalated) -> Iterator[str]:
    yield f"nobody answered {data.approval}: " + (f"{' or '.join(data.roles)} may too" if data.roles else "told again")
    if data.notified:
        yield f"told: {', '.join(data.notified)}"


@told.register
def _edited(data: consents.PlanEdited) -> Iterator[str]:
    yield f"{data.plan} edited by {data.by.id} into {data.becomes}"
    for edit in data.edits:
        yield f"step {edit.step}: {edit.name} = {value(edit.value)}"


@told.register
def _claim(data: Claim) -> Iterator[str]:
    yield f"may {data.phase} step {data.step} until {data.not_after:%H:%M:%S} UTC"
    yield f"key {data.key}, fence {data.fence}" + (f", approval {data.approval}" if data.approval else "")


@told.register
def _refused(data: entries.ClaimRefused) -> Iterator[str]:
    yield f"refused: {data.reason}"
    yield f"key {data.key}"


@told.register
def _call(data: entries.CallRecorded) -> Iterator[str]:
    status = "no reply" if data.status is None else f"HTTP {data.status}"
    yield f"{data.operation}: {data.result}, {status}, {data.duration_ms} ms"
    yield f"of {data.adapter}"


@told.register
def _effect(data: EffectOutcome) -> Iterator[str]:
    yield f"{data.effect} ({data.code})"
    yield f"key {data.key}"


@told.register
def _outcome(data: Outcome) -> Iterator[str]:
    yield f"{data.recovery.replace('_', ' ')} after {number(data.horizon_s)} s"
    if data.sli is not None:
        yield reading(data.sli)
    for guard in data.guards:
        yield f"guard: {reading(guard)}"


@told.register
def _remedy(data: entries.RemedyRecorded) -> Iterator[str]:
    remedy = data.remedy
    yield f"{remedy.status.replace('_', ' ')}: {remedy.change.target} ({data.reason})"
    if remedy.given_back:
        yield f"{remedy.given_back:.0%} given back"
    if data.change is not None:
        yield from changed(data.change)


@told.register
def _escalated(data: entries.Escalated) -> Iterator[str]:
    yield f"to a person: {data.reason}"
    yield "told: " + (", ".join(data.notified) or "nobody is configured")
    if data.half_done:
        yield "still in force: " + ", ".join(data.half_done)
    for step in data.not_undone:
        yield f"could not be undone: {step.intent} {step.target} ({step.why.replace('_', ' ')})"


@told.register
def _closed(data: entries.IncidentClosed) -> Iterator[str]:
    yield data.resolution.replace("_", " ")


@told.register
def _scored(data: TrustOutcome) -> Iterator[str]:
    counts = "counts for nothing" if data.credit is Credit.NOTHING else data.credit
    shadow = "untreated, in shadow: " if data.origin is Origin.SHADOW else ""
    yield f"{shadow}{counts} ({data.grounds.replace('_', ' ')})"
    yield f"{data.agent}, {data.runbook}/{data.intent} in {data.scope}"


@told.register
def _standing(data: StandingChanged) -> Iterator[str]:
    to = "" if data.autonomy is None else f" to {data.autonomy}"
    what = "" if data.intent is None else f" for {data.runbook}/{data.intent} in {data.scope}"
    yield f"{data.agent}: {data.word}{to}{what}"
    yield f"by {data.by.id} ({data.why.replace('_', ' ')})"
    if data.lower_bound is not None:
        yield f"lower bound {data.lower_bound:.3f}" + ("" if data.outcomes is None else f" of {data.outcomes} outcomes")


@told.register
def _advanced(data: RolloutAdvanced) -> Iterator[str]:
    yield f"{data.scope}: {data.previous} to {data.phase}, by {data.by.id}"
    for each in data.evidence:
        yield f"{each.name.replace('_', ' ')}: {each.observed or 0:.4g} (asked: {each.required:g})"


@told.register
def _set_back(data: RolloutSetBack) -> Iterator[str]:
    yield f"{data.scope}: {data.previous} back to {data.phase}, by {data.by.id} ({data.why.replace('_', ' ')})"


@told.register
def _judged(data: RolloutJudged) -> Iterator[str]:
    yield f"what was found and proposed was {'right' if data.right else 'wrong'}, says {data.by.id}"


@told.register
def _ordered(data: entries.OrderRecorded) -> Iterator[str]:
    yield f"{data.kind} ordered by {data.by.id}, known by {data.by.authenticated_by}"


@told.register
def _key(data: entries.KeyRotated) -> Iterator[str]:
    yield "the log's key was changed"
    yield f"until now {data.previous}"
    yield f"from now on {data.following}"


@told.register
def _erased(data: entries.EvidenceErased) -> Iterator[str]:
    yield f"{len(data.erased)} piece(s) of evidence erased by {data.by.id}, known by {data.by.authenticated_by}"
    for ref in data.erased:
        yield f"{ref.kind} of {ref.size} bytes, {ref.commitment}"


@told.register
def _pruned(data: entries.EvidencePruned) -> Iterator[str]:
    yield f"{data.count} piece(s) of {data.kind} evidence pruned, {data.size} bytes, from before {data.before:%Y-%m-%d}"


@told.register
def _archived(data: entries.Archived) -> Iterator[str]:
    yield f"entries {data.first} to {data.end - 1} archived at {data.place}"
    locked = "" if data.locked_until is None else f", locked until {data.locked_until:%Y-%m-%d}"
    yield f"{data.objects} objects, manifest {short(data.digest)}{locked}"


@told.register
def _entries_pruned(data: entries.EntriesPruned) -> Iterator[str]:
    yield f"entries {data.first} to {data.end - 1} pruned; the archive with manifest {short(data.archive)} has them"


@told.register
def _stop(data: entries.StopRecorded) -> Iterator[str]:
    yield f"{data.scope} {'stopped' if data.stopped else 'resumed'} by {data.by.id} at epoch {data.epoch.epoch}"
    if data.in_flight:
        yield f"in flight: {len(data.in_flight)}"
    if data.half_done:
        yield f"half done: {len(data.half_done)}" + (f", to be undone by order {data.undo}" if data.undo else "")


@told.register
def _activated(data: entries.PolicyActivated) -> Iterator[str]:
    yield f"policy {short(data.version)} activated by {data.by.id}"


@told.register
def _started(data: entries.DaemonStarted) -> Iterator[str]:
    yield f"daemon {data.version} started, policy {short(data.policy_version)}"


@told.register
def _gap(data: entries.WatchGap) -> Iterator[str]:
    yield f"blind {data.since:%H:%M:%S} to {data.until:%H:%M:%S} UTC ({data.reason}), {data.signals_seen} signals seen"


@told.register
def _evicted(data: entries.Eviction) -> Iterator[str]:
    yield f"let go of {data.count} {data.what} ({data.reason})"


def needed(terms: ApprovalTerms) -> str:
    """`2 of approver, not its author`."""
    words = [f"{terms.quorum} of {' or '.join(terms.roles)}"]
    words += ["not its author"] if terms.not_author else []
    words += ["who count for this alone"] if terms.separate else []
    return ", ".join(words)


def changed(change: Change) -> Iterator[str]:
    yield f"{change.intent} {change.target}"
    for field in change.fields:
        yield f"  {field.path}: {value(field.before)} → {value(field.after)}"


def gate(step: GateResult) -> str:
    """`✓ blast_count  1 of at most 3  (limit/small)`."""
    mark = "✓" if step.passed else "✗"
    where = "" if step.step is None else f" of step {step.step}"
    measured = "" if step.observed is None else f": {number(step.observed)}"
    bound = "" if step.limit is None else f" against {number(step.limit)}"
    return f"{mark} {step.gate}{where}{measured}{bound}, {step.reason} ({step.node})"


def edge(known: Edge) -> str:
    return f"{known.source} → {known.target} (known from {known.known_from})"


def sli(level: Sli) -> str:
    of = str(level.subject) if level.over == "one" else f"all but {level.subject}"
    return f"{level.measure} of {of} {level.op} {number(level.threshold)} over {number(level.window_s)} s"


def reading(read: SliReading) -> str:
    measured = "nothing" if read.value is None else number(read.value)
    return f"{read.status}: {measured} from {read.events} events, where {sli(read.sli)}"


def number(given: float | str) -> str:
    return given if isinstance(given, str) else f"{given:.6g}"


def value(given: Scalar) -> str:
    return "unset" if given is None else str(given)


def short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]
