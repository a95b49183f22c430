"""From a diagnosis to a proposal: which runbooks fit, and one of them with every target and number filled in.

Pure: the same diagnosis, findings and facts give the same proposal. What cannot be filled in is `NotApplicable`, with
a short code. A proposal is not a plan: nothing was asked of the target yet, nor of policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import chain

from watchkeeper.core.actions import Action, ActionKind, Intent, Target
from watchkeeper.core.diagnosis import Cause, Diagnosis
from watchkeeper.core.findings import Finding
from watchkeeper.core.model import Contract, Labels, Scalar
from watchkeeper.core.plans import Release, RunbookRef, Verification
from watchkeeper.core.sli import Sli
from watchkeeper.core.subjects import Edge, Subject, SubjectKind
from watchkeeper.runbooks.context import Context, Missing, contexts
from watchkeeper.runbooks.facts import ResolveFacts
from watchkeeper.runbooks.loader import Catalog
from watchkeeper.runbooks.model import (
    ActionSpec,
    Expression,
    GatewayKind,
    Round,
    Runbook,
    SliSpec,
    Source,
    SubjectRef,
    TargetKind,
    Term,
    Trigger,
)

_KINDS = {
    Intent.RESTART: ActionKind.SELF_RESTORING,
    Intent.DRAIN: ActionKind.SELF_RESTORING,
    Intent.RECLAIM_SPACE: ActionKind.IRREVERSIBLE,
    Intent.KILL: ActionKind.IRREVERSIBLE,
}


class Proposal(Contract):
    """`edges` lead from the symptom by the cause to the targets. An action's `kind` is what is usual for its intent:
    the adapter's capability has the last word."""

    runbook: RunbookRef
    cause: Cause
    edges: tuple[Edge, ...]
    actions: tuple[Action, ...]
    verification: Verification
    breach: Sli
    release: Release | None
    remedy_ttl_s: float


class NotApplicable(Contract):
    """`reason` is a code: `no_fitting_cause`, `no_baseline_calls_per_min`, `no_key_leads_to_cause`, ..."""

    runbook: str
    reason: str


def candidates(catalog: Catalog, diagnosis: Diagnosis) -> tuple[Runbook, ...]:
    """The runbooks that fit a cause, best first: by the cause's rank, then the narrower trigger, then the name."""
    fits = []
    for runbook in catalog.runbooks:
        cause = fitting_cause(runbook, diagnosis)
        if cause is not None:
            trigger = runbook.spec.trigger
            narrow = len(trigger.modes) + len(trigger.subjects) - bool(trigger.signs)
            fits.append((diagnosis.causes.index(cause), narrow, runbook.name, runbook))
    return tuple(runbook for *_, runbook in sorted(fits, key=lambda fit: fit[:3]))


def fitting_cause(runbook: Runbook, diagnosis: Diagnosis) -> Cause | None:
    """The first cause that the trigger admits."""
    trigger = runbook.spec.trigger
    for cause in diagnosis.causes:
        if (
            cause.mode in trigger.modes
            and cause.subject.kind in trigger.subjects
            and cause.confidence >= trigger.min_confidence
            and (not trigger.signs or set(trigger.signs) & set(cause.signs))
            and _of_a_kind(cause, trigger)
        ):
            return cause
    return None


def _of_a_kind(cause: Cause, trigger: Trigger) -> bool:
    if cause.subject.kind is not SubjectKind.TARGET or not trigger.targets:
        return True
    target = Target.of(cause.subject.id)
    return target is not None and target.kind in trigger.targets


def resolve(
    runbook: Runbook, diagnosis: Diagnosis, findings: Sequence[Finding], facts: ResolveFacts
) -> Proposal | NotApplicable:
    cause = fitting_cause(runbook, diagnosis)
    if cause is None:
        return NotApplicable(runbook=runbook.name, reason="no_fitting_cause")
    meant = [finding for finding in findings if finding.id in cause.findings]
    edges = [edge for finding in meant for edge in finding.edges]
    service = meant[0].scope.service if meant else ""
    try:
        return _proposal(runbook, cause, edges, facts, service)
    except Missing as missing:
        return NotApplicable(runbook=runbook.name, reason=missing.reason)


def _proposal(runbook: Runbook, cause: Cause, edges: Iterable[Edge], facts: ResolveFacts, service: str) -> Proposal:
    spec = runbook.spec
    places = contexts(cause, edges, facts, spec.actions[0].target.kind)
    steps = list(chain.from_iterable(_actions(spec.actions, place) for place in places))
    if not steps:
        raise Missing("no_action_applies")
    actions = tuple(action.model_copy(update={"step": step}) for step, action in enumerate(steps))
    first, *others = places
    sli = _sli(spec.verification.sli, first, actions, service)
    also = [_sli(spec.verification.sli, place, actions, service) for place in others]
    guards = [_sli(guard, place, actions, service) for place in places for guard in spec.verification.guards]
    release = spec.release and Release(
        hold_s=spec.hold,
        steps=spec.release.steps,
        watch_s=spec.release.watch,
        max_relapses=spec.release.max_relapses,
    )
    return Proposal(
        runbook=runbook.ref,
        cause=cause,
        edges=tuple(dict.fromkeys(chain.from_iterable(place.edges for place in places))),
        actions=actions,
        verification=Verification(
            sli=sli,
            guards=tuple(guard for guard in dict.fromkeys((*also, *guards)) if guard != sli),
            horizons_s=spec.verification.horizons,
        ),
        breach=sli if spec.breach is None else _sli(spec.breach, first, actions, service),
        release=release,
        remedy_ttl_s=spec.ttl,
    )


def _actions(specs: Iterable[ActionSpec], place: Context) -> Iterable[Action]:
    for spec in specs:
        if not place.holds(spec.when):
            continue
        kind = spec.target.kind if place.target is None else place.target.kind
        for name in place.targets(spec.target.kind, spec.target.select):
            parameters = _parameters(spec, place, _acted_on(place.facts, kind, name))
            if parameters or not spec.parameters:
                labels = _labels(place.facts, kind, name)
                yield Action(
                    step=0,
                    intent=spec.intent,
                    kind=_KINDS.get(spec.intent, ActionKind.REVERSIBLE),
                    target=Target(adapter=place.facts.adapter, kind=kind, id=name, labels=labels),
                    parameters=parameters,
                )


def _acted_on(facts: ResolveFacts, kind: TargetKind, name: str) -> Subject:
    """A target in the words of the signals."""
    if kind in tuple(GatewayKind):
        return Subject(kind=GatewayKind(kind).subject_kind, id=name)
    return Subject(kind=SubjectKind.TARGET, id=f"{facts.adapter}/{kind}/{name}")


def _parameters(spec: ActionSpec, place: Context, subject: Subject) -> tuple[tuple[str, Scalar], ...]:
    found: list[tuple[str, Scalar]] = []
    for parameter, expression in sorted(spec.parameters.items()):
        try:
            found.append((parameter, _value(expression, place, subject)))
        except Missing:
            if not expression.optional:
                raise
    return tuple(found)


def _labels(facts: ResolveFacts, kind: TargetKind, name: str) -> Labels:
    match kind:
        case GatewayKind.KEY:
            key = facts.key(name)
            return key.labels if key else ()
        case GatewayKind.MODEL_GROUP:
            group = facts.group(name)
            return group.labels if group else ()
        case GatewayKind.DEPLOYMENT:
            return next((each.labels for each in facts.deployments if each.id == name), ())
    return ()


def _sli(spec: SliSpec, place: Context, actions: Sequence[Action], service: str) -> Sli:
    subject = _subject(spec.subject, place, actions, service)
    threshold = _value(spec.threshold, place, subject)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float):
        raise Missing("threshold_is_no_number")
    return Sli(
        measure=spec.measure,
        subject=subject,
        over=spec.over,
        op=spec.op,
        threshold=threshold,
        window_s=spec.window,
        min_events=spec.min_events,
    )


def _subject(ref: SubjectRef, place: Context, actions: Sequence[Action], service: str) -> Subject:
    match ref:
        case SubjectRef.CAUSE:
            return place.cause
        case SubjectRef.TARGET:
            target = actions[0].target
            return _acted_on(place.facts, target.kind, target.id)
        case SubjectRef.MODEL_GROUP:
            if not place.group:
                raise Missing("no_model_group_known_for_cause")
            return Subject(kind=SubjectKind.MODEL, id=place.group)
        case SubjectRef.SERVICE:
            if not service:
                raise Missing("no_service_known_for_cause")
            return Subject(kind=SubjectKind.SERVICE, id=service)


def _value(expression: Expression, place: Context, subject: Subject) -> Scalar:
    """The expression's number (or flag, or list of declared names) for `subject`. Raises Missing."""
    value = _term(expression, place, subject)
    if isinstance(value, bool | str):
        return value
    if expression.plus is not None:
        more = _term(expression.plus, place, subject)
        if isinstance(more, bool | str):
            raise Missing("plus_is_no_number")
        value += more
    if expression.min is not None:
        value = max(value, expression.min)
    if expression.max is not None:
        value = min(value, expression.max)
    match expression.round:
        case Round.UP:
            return math.ceil(round(value, 9))
        case Round.DOWN:
            return math.floor(round(value, 9))
        case None:
            return value


def _term(term: Term, place: Context, subject: Subject) -> float | bool | str:
    if term.source is None:
        assert term.value is not None
        return term.value if isinstance(term.value, bool) else term.value * term.times
    if term.source is Source.GROUP_FALLBACKS:
        return _fallbacks(place)
    return _number(term.source, place, subject) * term.times


def _number(source: Source, place: Context, subject: Subject) -> float:
    if source is Source.CAUSE_WEIGHT:
        return place.weight
    if source is Source.KEY_SPEND:
        key = place.facts.key(place.key)
        if key is None or key.spend_usd is None:
            raise Missing("no_spend_known_for_key")
        return key.spend_usd
    assert source.measure is not None
    expected = place.facts.baseline(subject, source.measure)
    if expected is None or not math.isfinite(expected):
        raise Missing(f"no_baseline_{source.measure}")
    return expected


def _fallbacks(place: Context) -> str:
    """The declared stand-ins first, then what is set already; comma-separated, as the action's scalar."""
    group = place.facts.group(place.group)
    if group is None or not place.stand_ins:
        raise Missing("no_fallback_declared")
    return ",".join(dict.fromkeys((*place.stand_ins, *group.fallbacks)))
