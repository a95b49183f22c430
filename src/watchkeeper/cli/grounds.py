"""What each kind of step was made from, in words: (what it is, what it said). Pure.

The basis of a finding or diagnosis is read as its contract; of a longer list the end is told, where the trouble is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import singledispatch
from typing import TypeVar

from pydantic import ValidationError

from watchkeeper.agents.detector import basis as detector
from watchkeeper.agents.detector.facts import Facts, StepRow
from watchkeeper.agents.diagnoser import gateway
from watchkeeper.cli.tell import edge, number, short, sli, value
from watchkeeper.core import consents, entries
from watchkeeper.core.claims import Claim
from watchkeeper.core.decisions import ActionRequest, DecisionRecord
from watchkeeper.core.diagnosis import Diagnosis
from watchkeeper.core.model import Contract
from watchkeeper.core.outcomes import EffectOutcome, Outcome
from watchkeeper.core.plans import Plan
from watchkeeper.signals.state import RunView, Tally

Ground = tuple[str, str]
MAX_VALUES = 24
"""Of one series."""
MAX_BUCKETS, MAX_ITEMS = 8, 12

ABasis = TypeVar("ABasis", bound=Contract)
Item = TypeVar("Item")


@singledispatch
def made_from(data: Contract, basis: dict[str, object] | None) -> Iterator[Ground]:
    """Nothing, for a kind whose data is all there is."""
    yield from ()


@made_from.register
def _finding(data: entries.FindingRecorded, basis: dict[str, object] | None) -> Iterator[Ground]:
    read = _read(detector.Basis, basis)
    if read is None:
        yield "basis", _unread(basis, data.finding.state_digest)
        return
    yield "thresholds", ", ".join(f"{name} {_said(said)}" for name, said in read.config)
    match read.case:
        case detector.LoopCase(runs=runs):
            yield from _listed("run", runs, _run)
        case detector.OutageCase(provider=provider, deployments=known):
            beside = ", ".join(str(each) for each in known[:MAX_ITEMS])
            yield "looked at", beside + ("" if provider is None else f" of {provider}")
        case detector.CostCase(spikes=spikes):
            yield from _listed(
                "spike", spikes, lambda each: f"{each.subject}, {number(each.excess)} {each.unit} too much"
            )
        case None:
            yield "basis", "there was no room for all that was read; kept is what is about the subject"
    if read.facts is not None:
        yield from _facts(read.facts)


def _facts(facts: Facts) -> Iterator[Ground]:
    yield from _listed("series", facts.steps, lambda row: _series(row, facts.state.step_s))
    yield from _listed("buckets", facts.buckets, lambda told: f"{told[0][0]}: {_buckets(told[1])}")
    for (name, about, _), lines in facts.series[:MAX_ITEMS]:
        for line in lines:
            yield "series", f"{name} of {about}: " + ", ".join(f"{_time(at)} {number(point)}" for at, point in line)
    for (name, about, _), level in facts.levels[:MAX_ITEMS]:
        yield "level", f"{name} of {about}: {'not told' if level is None else number(level)}"
    for about, names in facts.alerts[:MAX_ITEMS]:
        if names:
            yield "alerts", f"{about}: {', '.join(names)}"
    for _, changes in facts.changes:
        yield from _listed("change", changes, lambda each: f"{_time(each[0])} {each[1]} {each[2]} of {each[3]}")
    for about, spans in facts.remedied[:MAX_ITEMS]:
        for since, until in spans:
            yield "remedy", f"on {about} from {_time(since)} to {_time(until)}"
    ways = [each for _, way in (*facts.paths, *facts.around, *facts.between) for each in way or ()]
    yield from _listed("link", list(dict.fromkeys(ways)), edge)
    yield from _listed("scope", facts.scopes, lambda told: f"{told[0]} in {told[1]}")


@made_from.register
def _diagnosis(data: Diagnosis, basis: dict[str, object] | None) -> Iterator[Ground]:
    read = _read(gateway.Basis, basis)
    if read is None:
        yield "basis", _unread(basis, data.state_digest)
        return
    yield from _listed("finding", read.findings, lambda each: f"{each.id}: {each.mode} of {each.subject}")
    yield from _listed("link", read.edges, edge)


@made_from.register
def _plan(data: Plan, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "cause", f"{data.basis.confidence:.0%} {data.basis.mode} at {data.basis.cause}"
    yield "findings", ", ".join(data.basis.findings) or "none"
    yield "runbook", f"{data.runbook.name}, digest {short(data.runbook.digest)}"
    yield "trouble", sli(data.basis.breach)
    for change in data.changes:
        found = ", ".join(f"{field.path} {value(field.before)}" for field in change.fields)
        yield "found", f"{change.target}: {found or 'nothing to change'}"


@made_from.register
def _decision(data: DecisionRecord, basis: dict[str, object] | None) -> Iterator[Ground]:
    given = data.input
    yield "policy", f"version {short(data.decision.policy_version)}, input {short(data.decision.input_digest)}"
    yield "agent", f"{given.agent}, runbook {given.runbook}, in {given.scope}"
    novel, proven = "novel, " if given.novel else "", "proven" if given.edge_proven else "not proven"
    yield "cause", f"{novel}{given.mode}, {given.severity}, {given.confidence:.0%}, its way {proven}"
    yield "signs", ", ".join(given.signs) or "none"
    yield from _listed("action", given.requests, _request)
    for rate in given.rates:
        yield "rate", f"{rate.count} claimed in {rate.window_s} s"
    trust = "not kept" if given.trust_lower_bound is None else number(given.trust_lower_bound)
    yield "state", f"{given.running_fleet} running, trust {trust}, conflicts {', '.join(given.conflicts) or 'none'}"


@made_from.register
def _asked(data: consents.ApprovalRequested, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "decision", f"{data.decision} on plan {data.plan}"
    for terms in data.terms:
        yield "terms", f"{terms.quorum} of {' or '.join(terms.roles)} within {terms.ttl_s} s ({terms.node})"


@made_from.register
def _answered(data: consents.ApprovalAnswered, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "plan", f"hash {short(data.plan_hash)}"


@made_from.register
def _claim(data: Claim, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "plan", f"{data.plan}, hash {short(data.plan_hash)}"
    yield "decision", f"{data.decision} under policy {short(data.policy_version)}"
    yield "epochs", ", ".join(f"{seen.scope} {seen.epoch}" for seen in data.epochs)


@made_from.register
def _refused(data: entries.ClaimRefused, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "plan", f"hash {short(data.plan_hash)}"


@made_from.register
def _call(data: entries.CallRecorded, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "claim", "none: it only reads" if data.claim is None else data.claim


@made_from.register
def _effect(data: EffectOutcome, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "claim", f"{data.claim}, fence {data.fence}"


@made_from.register
def _outcome(data: Outcome, basis: dict[str, object] | None) -> Iterator[Ground]:
    yield "plan", data.plan


def _read(model: type[ABasis], basis: dict[str, object] | None) -> ABasis | None:
    try:
        return None if basis is None else model.model_validate(basis)
    except ValidationError:
        return None


def _unread(basis: dict[str, object] | None, digest: str) -> str:
    what = "not shown here" if basis is None else "of another version; see --json"
    return f"{short(digest)}, {what}"


def _listed(what: str, items: Sequence[Item], word: Callable[[Item], str]) -> Iterator[Ground]:
    for item in items[:MAX_ITEMS]:
        yield what, word(item)
    if len(items) > MAX_ITEMS:
        yield what, f"and {len(items) - MAX_ITEMS} more; see --json"


def _series(row: StepRow, step_s: float) -> str:
    steps = row.steps()
    priced = any(each.cost_usd for each in steps)
    values = [each.cost_usd if priced else each.tokens for each in steps]
    last = " ".join(number(each) for each in values[-MAX_VALUES:]) or "nothing"
    unit = "US dollars" if priced else "tokens"
    return f"{row.of}, {unit} per {number(step_s)} s, the last of {len(values)}: {last}"


def _buckets(told: Sequence[tuple[datetime, Tally]]) -> str:
    return "; ".join(f"{_time(start)} {_counts(tally)}" for start, tally in told[-MAX_BUCKETS:]) or "nothing"


def _counts(tally: Tally) -> str:
    counts: Iterable[tuple[str, float]] = (("served", tally.served), *tally.errors)
    return ", ".join(f"{number(count)} {what}" for what, count in counts if count) or "nothing"


def _run(run: RunView) -> str:
    length, repeats = run.cycle
    cycle = f", a cycle of {length} {repeats} times" if repeats else ""
    told = f"{run.iterations} model calls, {run.tool_calls} tool calls, {run.repeated} alike{cycle}"
    return f"{run.id}: {told}, {_time(run.started)} to {_time(run.last)}"


def _request(request: ActionRequest) -> str:
    touched = f"touches {request.blast_count} of {request.blast_population}"
    undo = "undo captured" if request.undo_captured else "no undo"
    return f"{request.intent} {request.target}, {request.kind}, {touched}, {undo}"


def _said(said: object) -> str:
    return number(said) if isinstance(said, float) else str(said)


def _time(at: datetime) -> str:
    return f"{at:%H:%M:%S}"
