"""What is wrong, or unwise, in a runbook that reads well: each finding has a place, a code and a severity.

Errors keep a runbook from being loaded; warnings are for the author. It does not know an adapter's parameters: the
precheck does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from watchkeeper.core.actions import Intent
from watchkeeper.core.sli import Comparison
from watchkeeper.core.yamldoc import Path
from watchkeeper.runbooks.model import (
    Condition,
    Expression,
    Runbook,
    RunbookSpec,
    Select,
    SliSpec,
    Source,
    SubjectRef,
    TargetKind,
)


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


def lint(runbook: Runbook) -> list[LintFinding]:
    """All findings, errors first, then by place."""
    checks = (_actions, _verification, _release, _breach)
    found = [finding for check in checks for finding in check(runbook.spec)]
    return sorted(found, key=lambda each: (each.severity, [str(part) for part in each.path], each.code))


def _error(path: Path, code: str, message: str) -> LintFinding:
    return LintFinding(("spec", *path), LintSeverity.ERROR, code, message)


def _warning(path: Path, code: str, message: str) -> LintFinding:
    return LintFinding(("spec", *path), LintSeverity.WARNING, code, message)


def _actions(spec: RunbookSpec) -> Iterator[LintFinding]:
    kinds = {action.target.kind is TargetKind.KEY for action in spec.actions}
    if len(kinds) > 1:
        yield _error(("actions",), "mixed_targets", "a runbook acts on keys or on deployments and groups, not on both")
    for number, action in enumerate(spec.actions):
        at: Path = ("actions", number)
        if action.intent is Intent.RECLAIM_SPACE:
            yield _error((*at, "intent"), "irreversible", f"{action.intent} has no undo, and a runbook must have one")
        about_deployments = action.target.kind is not TargetKind.KEY
        if action.when is not Condition.ALWAYS and not about_deployments:
            yield _error((*at, "when"), "condition_without_group", f"`{action.when}` says nothing about a key")
        if action.target.select is Select.STANDBY and action.target.kind is not TargetKind.DEPLOYMENT:
            yield _error((*at, "target", "select"), "standby_of_what", "only deployments have a standby")
        for name, expression in action.parameters.items():
            yield from _expression(expression, (*at, "parameters", name), action.target.kind)


def _expression(expression: Expression, at: Path, kind: TargetKind | None) -> Iterator[LintFinding]:
    sources = {term.source for term in (expression, expression.plus) if term is not None and term.source is not None}
    if expression.min is not None and expression.max is not None and expression.min > expression.max:
        yield _error((*at, "min"), "min_over_max", "min is greater than max")
    if Source.KEY_SPEND in sources and kind is not TargetKind.KEY:
        yield _error(at, "source_does_not_fit", f"`{Source.KEY_SPEND}` is known of keys only")
    if Source.CAUSE_WEIGHT in sources and kind is not TargetKind.DEPLOYMENT:
        yield _error(at, "source_does_not_fit", f"`{Source.CAUSE_WEIGHT}` is known of deployments only")
    if Source.GROUP_FALLBACKS in sources:
        if kind is not TargetKind.MODEL_GROUP:
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
    if sli.min_events == 0:
        yield _warning(at, "no_minimum", "minEvents 0: silence would be taken for an answer")
    if sli.subject is SubjectRef.MODEL_GROUP and spec.actions[0].target.kind is TargetKind.KEY:
        yield _error((*at, "subject"), "no_model_group", "a runbook that acts on keys knows no model group")


def _release(spec: RunbookSpec) -> Iterator[LintFinding]:
    needed = spec.verification.horizons[-1] + spec.hold
    if spec.release is None:
        yield _warning((), "no_release", "no release: the change stays until a person undoes it or its ttl is over")
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
    same = spec.breach.measure is spec.verification.sli.measure
    return spec.verification.sli.op if same else spec.breach.op
