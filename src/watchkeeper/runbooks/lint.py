"""What is wrong, or unwise, in a runbook that reads well: each finding has a place, a code and a severity.

Errors keep a runbook from being loaded; warnings are for the author. What adapters can do is handed in as data; without
it, intents and parameters are left to the precheck, as values always are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.errors import suggest
from watchkeeper.core.sli import Comparison, Measure, SubjectSet
from watchkeeper.core.subjects import SubjectKind
from watchkeeper.core.yamldoc import Path
from watchkeeper.runbooks.model import (
    CAUSE_KIND,
    ActionSpec,
    Condition,
    Expression,
    GatewayKind,
    Runbook,
    RunbookSpec,
    Select,
    SliSpec,
    Source,
    SubjectRef,
    TargetKind,
    Term,
)

_LOWER_IS_BETTER = frozenset(
    {Measure.PROVIDER_ERROR_RATIO, Measure.LATENCY_P95_S, Measure.COST_USD_PER_MIN, Measure.ALERTS_FIRING}
)
_RATES = frozenset({Measure.CALLS_PER_MIN, Measure.SERVED_PER_MIN, Measure.TOKENS_PER_MIN, Measure.COST_USD_PER_MIN})
_NO_WAY_BACK = frozenset({Intent.RECLAIM_SPACE, Intent.KILL})
_BRAKES = frozenset({Intent.THROTTLE, Intent.SET_BUDGET, Intent.BLOCK})
_LIMITS = {
    "rpm_limit": frozenset({Measure.CALLS_PER_MIN, Measure.SERVED_PER_MIN}),
    "tpm_limit": frozenset({Measure.TOKENS_PER_MIN}),
}
"""The rates that a parameter keeps at or under its own number."""
_BASELINES = (20.0, 5.0, 100.0, 10_000.0, 2.0, 1.0, 0.5, 0.0)


class LintSeverity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True)
class LintFinding:
    """`path` is where in the document; the loader knows the line."""

    path: Path
    severity: LintSeverity
    code: str
    message: str


@dataclass(frozen=True)
class Offer:
    """What an adapter declares: one intent on one kind of target, its parameters, and those that it must be given."""

    intent: Intent
    target_kind: str
    parameters: frozenset[str]
    needed: frozenset[str]
    kind: ActionKind


def unknown_series(runbook: Runbook, known: Collection[str]) -> list[LintFinding]:
    """Levels that name a query which the settings do not have."""
    verification = runbook.spec.verification
    levels: list[tuple[Path, SliSpec | None]] = [(("verification", "sli"), verification.sli)]
    levels += [(("verification", "guards", number), guard) for number, guard in enumerate(verification.guards)]
    levels.append((("breach",), runbook.spec.breach))
    return [
        _error(
            (*at, "measure"),
            "unknown_series",
            f"the settings have no prometheus query named `{level.series}`{suggest(level.series, known)}",
        )
        for at, level in levels
        if level is not None and level.series and level.series not in known
    ]


def lint(runbook: Runbook, offers: Sequence[Offer] = ()) -> list[LintFinding]:
    """All findings, errors first, then by place. With no `offers`, nothing is said of what adapters can do."""
    checks = (_actions, _verification, _direction, _reachable, _release, _breach)
    found = [finding for check in checks for finding in check(runbook.spec)]
    if offers:
        found += _offered(runbook.spec, offers)
    return sorted(found, key=lambda each: (each.severity, [str(part) for part in each.path], each.code))


def _error(path: Path, code: str, message: str) -> LintFinding:
    return LintFinding(("spec", *path), LintSeverity.ERROR, code, message)


def _warning(path: Path, code: str, message: str) -> LintFinding:
    return LintFinding(("spec", *path), LintSeverity.WARNING, code, message)


def _actions(spec: RunbookSpec) -> Iterator[LintFinding]:
    kinds = {_family(action.target.kind) for action in spec.actions}
    if len(kinds) > 1:
        text = "a runbook acts on keys, on deployments and groups, or on what its cause names, not on several of these"
        yield _error(("actions",), "mixed_targets", text)
    about_targets = SubjectKind.TARGET in spec.trigger.subjects
    if about_targets != (kinds == {"target"}) or about_targets != bool(spec.trigger.targets):
        text = "for targets of the infrastructure: `subjects: [target]`, their kinds in `targets`, and acts on these"
        yield _error(("trigger",), "subjects_and_targets", text)
    for number, action in enumerate(spec.actions):
        at: Path = ("actions", number)
        if action.intent in _NO_WAY_BACK and spec.undo == "captured":
            yield _error((*at, "intent"), "irreversible", f"{action.intent} has no undo: say `undo: none`")
        about_deployments = action.target.kind in (GatewayKind.DEPLOYMENT, GatewayKind.MODEL_GROUP)
        if action.when is not Condition.ALWAYS and not about_deployments:
            yield _error((*at, "when"), "condition_without_group", f"`{action.when}` says nothing about a key")
        if action.target.select is Select.STANDBY and action.target.kind != GatewayKind.DEPLOYMENT:
            yield _error((*at, "target", "select"), "standby_of_what", "only deployments have a standby")
        for name, expression in action.parameters.items():
            yield from _expression(expression, (*at, "parameters", name), action.target.kind)


def _offered(spec: RunbookSpec, offers: Sequence[Offer]) -> Iterator[LintFinding]:
    for number, action in enumerate(spec.actions):
        at: Path = ("actions", number)
        of_intent = [offer for offer in offers if offer.intent is action.intent]
        for kind in spec.trigger.targets if action.target.kind == CAUSE_KIND else (action.target.kind,):
            yield from _offered_for(spec, action, kind, of_intent, at)


def _offered_for(
    spec: RunbookSpec, action: ActionSpec, kind: TargetKind, of_intent: Sequence[Offer], at: Path
) -> Iterator[LintFinding]:
    fitting = [offer for offer in of_intent if offer.target_kind == kind]
    if fitting:
        yield from _way_back(spec, fitting, (*at, "intent"))
        yield from min((list(_parameters(action, offer, at)) for offer in fitting), key=len)
    else:
        kinds = ", ".join(sorted({offer.target_kind for offer in of_intent})) or "nothing yet"
        text = f"no adapter can {action.intent} a {kind}; what it is offered for: {kinds}"
        yield _error((*at, "intent"), "not_offered", text)


def _family(kind: TargetKind) -> str:
    return "key" if kind == GatewayKind.KEY else "group" if kind in tuple(GatewayKind) else "target"


def _way_back(spec: RunbookSpec, offers: Sequence[Offer], at: Path) -> Iterator[LintFinding]:
    """What is said of undo must be so of each action."""
    reversible = any(offer.kind is ActionKind.REVERSIBLE for offer in offers)
    if spec.undo == "captured" and not reversible:
        yield _error(at, "no_way_back", f"{offers[0].intent} has no undo: say `undo: none`")
    if spec.undo == "none" and reversible:
        yield _error(at, "undo_given_up", f"{offers[0].intent} can be undone: say `undo: captured`")


def _parameters(action: ActionSpec, offer: Offer, at: Path) -> Iterator[LintFinding]:
    what = f"{action.intent} of a {offer.target_kind}"
    for name in sorted(action.parameters.keys() - offer.parameters):
        text = f"`{name}` is no parameter of {what}{suggest(name, offer.parameters)}"
        yield _error((*at, "parameters", name), "unknown_parameter", text)
    for name in sorted(offer.needed - action.parameters.keys()):
        yield _error((*at, "parameters"), "parameter_missing", f"{what} needs the parameter `{name}`")


def _expression(expression: Expression, at: Path, kind: TargetKind | None) -> Iterator[LintFinding]:
    sources = _sources(expression)
    if expression.min is not None and expression.max is not None and expression.min > expression.max:
        yield _error((*at, "min"), "min_over_max", "min is greater than max")
    if Source.KEY_SPEND in sources and kind != GatewayKind.KEY:
        yield _error(at, "source_does_not_fit", f"`{Source.KEY_SPEND}` is known of keys only")
    if Source.CAUSE_WEIGHT in sources and kind != GatewayKind.DEPLOYMENT:
        yield _error(at, "source_does_not_fit", f"`{Source.CAUSE_WEIGHT}` is known of deployments only")
    if Source.GROUP_FALLBACKS in sources:
        if kind != GatewayKind.MODEL_GROUP:
            yield _error(at, "source_does_not_fit", f"`{Source.GROUP_FALLBACKS}` is known of model groups only")
        elif expression.model_fields_set - {"source", "optional"}:
            yield _error(at, "not_a_number", f"`{Source.GROUP_FALLBACKS}` is a list: it takes no arithmetic")


def _verification(spec: RunbookSpec) -> Iterator[LintFinding]:
    verification = spec.verification
    at: Path = ("verification",)
    if any(later <= earlier for earlier, later in pairwise(verification.horizons)) or verification.horizons[0] <= 0:
        yield _error((*at, "horizons"), "horizons_not_increasing", "each horizon must be later than the one before")
    if not verification.guards:
        yield _warning(at, "no_guard", "no guard: harm to others would be taken for recovery")
    yield from _level(verification.sli, (*at, "sli"), spec)
    if verification.sli.window > verification.horizons[-1]:
        yield _warning(
            (*at, "horizons"), "window_over_horizon", "the last reading still sees the time before the effect"
        )
    for number, guard in enumerate(verification.guards):
        yield from _level(guard, (*at, "guards", number), spec)


def _level(sli: SliSpec, at: Path, spec: RunbookSpec) -> Iterator[LintFinding]:
    yield from _expression(sli.threshold, (*at, "threshold"), None)
    if sli.threshold.optional:
        yield _error((*at, "threshold", "optional"), "threshold_needed", "a threshold cannot be left out")
    if sli.series and _sources(sli.threshold):
        text = f"nothing is learnt of a series: give the threshold of `{sli.measure}` as a value"
        yield _error((*at, "threshold", "from"), "series_has_no_baseline", text)
    if sli.min_events == 0:
        yield _warning(at, "no_minimum", "minEvents 0: silence would be taken for an answer")
    if sli.subject is SubjectRef.MODEL_GROUP and spec.actions[0].target.kind == GatewayKind.KEY:
        yield _error((*at, "subject"), "no_model_group", "a runbook that acts on keys knows no model group")


def _direction(spec: RunbookSpec) -> Iterator[LintFinding]:
    """A level must ask for the better, and what brakes is not verified by more."""
    verification = spec.verification
    at: Path = ("verification",)
    levels: list[tuple[Path, SliSpec]] = [((*at, "sli", "op"), verification.sli)]
    levels += [((*at, "guards", number, "op"), guard) for number, guard in enumerate(verification.guards)]
    for place, level in levels:
        worse = Comparison.AT_LEAST if level.measure in _LOWER_IS_BETTER else Comparison.AT_MOST
        if level.op is worse and level.measure in _LOWER_IS_BETTER | {Measure.SUCCESS_RATIO}:
            yield _error(place, "asks_for_harm", f"`{level.measure} {level.op}` would take harm for recovery: turn it")
    sli = verification.sli
    brakes = all(action.intent in _BRAKES for action in spec.actions)
    more = sli.op is Comparison.AT_LEAST and sli.measure in _RATES - _LOWER_IS_BETTER
    if brakes and more and sli.over is SubjectSet.ONE and sli.subject is not SubjectRef.MODEL_GROUP:
        text = f"the actions only brake, so `{sli.measure} {sli.op}` says nothing of their success: turn it"
        yield _error((*at, "sli", "op"), "sli_other_way", text)


def _reachable(spec: RunbookSpec) -> Iterator[LintFinding]:
    """A limit that is kept must also verify, whatever the baseline is. Only what is drawn alike is compared."""
    sli = spec.verification.sli
    if sli.op is not Comparison.AT_MOST or sli.over is not SubjectSet.ONE or sli.subject is not SubjectRef.TARGET:
        return
    for name, expression in spec.actions[0].parameters.items():
        if sli.measure not in _LIMITS.get(name, ()) or _scales(expression) != _scales(sli.threshold):
            continue
        for baseline in _BASELINES:
            limit, asked = _number(expression, baseline), _number(sli.threshold, baseline)
            if limit > asked + 1e-9:
                text = (
                    f"at a baseline of {baseline:g}, {name} allows {limit:g} and the level asks for at most {asked:g}"
                )
                yield _error(("verification", "sli", "threshold"), "tighter_than_the_limit", text)
                break


def _sources(expression: Expression) -> set[Source]:
    return {term.source for term in (expression, expression.plus) if term is not None and term.source is not None}


def _scales(expression: Expression) -> set[Source]:
    """Its sources; what is usually called and what is usually served are of one size."""
    return {Source.BASELINE_CALLS if each is Source.BASELINE_SERVED else each for each in _sources(expression)}


def _number(expression: Expression, baseline: float) -> float:
    """As `resolve` computes it, before rounding."""
    value = _term(expression, baseline) + (_term(expression.plus, baseline) if expression.plus is not None else 0.0)
    value = value if expression.min is None else max(value, expression.min)
    return value if expression.max is None else min(value, expression.max)


def _term(term: Term, baseline: float) -> float:
    return (baseline if term.value is None else float(term.value)) * term.times


def _release(spec: RunbookSpec) -> Iterator[LintFinding]:
    needed = spec.verification.horizons[-1] + spec.hold
    if spec.release is None:
        if spec.undo == "captured" and "release" not in spec.model_fields_set:
            text = "no release: the change stays until a person undoes it or its ttl is over; say `release: null` if so"
            yield _warning((), "no_release", text)
    else:
        steps = spec.release.steps
        in_order = all(later > earlier for earlier, later in pairwise(steps))
        if steps[-1] != 1 or steps[0] <= 0 or not in_order:
            yield _error(("release", "steps"), "steps", "steps must grow from above 0 to exactly 1")
        needed += len(steps) * spec.release.watch
    if spec.ttl <= needed:
        yield _error(("ttl",), "ttl_too_short", f"ttl must exceed verify, hold and release together: {needed:g}s")


def _breach(spec: RunbookSpec) -> Iterator[LintFinding]:
    if spec.breach is None:
        return
    yield from _level(spec.breach, ("breach",), spec)
    if spec.breach.op is not _opposite_of_harm(spec):
        yield _warning(
            ("breach", "op"), "breach_other_way", "breach and verified level of one measure look opposite ways"
        )


def _opposite_of_harm(spec: RunbookSpec) -> Comparison | None:
    """Of one measure, breach and verification must look the same way."""
    assert spec.breach is not None
    same = spec.breach.measure == spec.verification.sli.measure
    return spec.verification.sli.op if same else spec.breach.op
