"""The same rules as our documents and as Cedar's policies, and one request for each side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from cedarpy import AuthzResult, PolicySet, is_authorized

from bench.policy.fleet import AGENT, HOUR_S, RUNBOOKS, Cap, Rule
from watchkeeper.core.decisions import DecisionInput
from watchkeeper.policies import load
from watchkeeper.policies.model import KINDS, PolicyDocument


def ours(rules: Iterable[Rule]) -> load.PolicySet:
    return load.PolicySet(tuple(_document(rule) for rule in rules))


def _document(rule: Rule) -> PolicyDocument:
    kind = "Grant" if rule.grants else "Limit"
    spec: dict[str, Any] = {"match": _match(rule), **_caps(rule.cap)}
    if rule.grants:
        spec["autonomy"] = "bounded"
    return KINDS[kind].model_validate(
        {"apiVersion": "watchkeeper.dev/v1", "kind": kind, "metadata": {"name": rule.name}, "spec": spec}
    )


def _match(rule: Rule) -> dict[str, Any]:
    named = {"environments": rule.environment, "services": rule.service, "runbooks": rule.runbook}
    match: dict[str, Any] = {key: [word] for key, word in named.items() if word}
    if rule.grants:
        intent, kind = RUNBOOKS[rule.runbook]
        match |= {"agents": [AGENT], "intents": [intent.value], "targetKinds": [kind]}
    if rule.team:
        match["targetLabels"] = {"team": [rule.team]}
    return match


def _caps(cap: Cap) -> dict[str, Any]:
    caps: dict[str, Any] = {}
    concurrency = {"perTarget": cap.per_target, "fleet": cap.fleet}
    if cap.blast is not None:
        caps["maxBlastCount"] = cap.blast
    if cap.rate is not None:
        caps["rate"] = {"count": cap.rate, "per": f"{HOUR_S}s"}
    if cap.cooldown_s is not None:
        caps["cooldown"] = f"{cap.cooldown_s}s"
    if any(each is not None for each in concurrency.values()):
        caps["concurrency"] = concurrency
    spec: dict[str, Any] = {"caps": caps} if caps else {}
    if cap.confidence_pct is not None:
        spec["minConfidence"] = cap.confidence_pct / 100
    if cap.sign:
        spec["requiredEvidence"] = [cap.sign]
    return spec


def cedars(rules: Iterable[Rule]) -> PolicySet:
    return PolicySet.from_str("\n".join(line for rule in rules for line in _policies(rule)))


def _policies(rule: Rule) -> Iterator[str]:
    """A Grant permits its match; what it caps, and every Limit, forbids unless it is kept. A label that the target
    lacks would escape a Limit in Cedar unless it is asked for; all targets here have it."""
    where = " && ".join(_where(rule)) or "true"
    if rule.grants:
        intent, kind = RUNBOOKS[rule.runbook]
        head = f'principal == Agent::"{AGENT}", action == Action::"{intent.value}", resource'
        yield f'permit({head}) when {{ {where} && context.kind == "{kind}" }};'
    kept = " && ".join(_kept(rule.cap))
    yield f"forbid(principal, action, resource) when {{ {where} }} unless {{ {kept} }};"


def _where(rule: Rule) -> Iterator[str]:
    named = {"environment": rule.environment, "service": rule.service, "runbook": rule.runbook, "team": rule.team}
    return (f'context.{key} == "{word}"' for key, word in named.items() if word)


def _kept(cap: Cap) -> Iterator[str]:
    bounds = (
        ("blast", "<=", cap.blast),
        ("rate", "<=", cap.rate),
        ("on_target", "<=", cap.per_target),
        ("fleet", "<=", cap.fleet),
        ("since", ">=", cap.cooldown_s),
        ("confidence", ">=", cap.confidence_pct),
    )
    yield from (f"context.{name} {op} {bound}" for name, op, bound in bounds if bound is not None)
    if cap.sign:
        yield f'context.signs.contains("{cap.sign}")'


def cedar_request(given: DecisionInput) -> dict[str, Any]:
    (asked,) = given.requests
    (rate,) = given.rates
    return {
        "principal": {"type": "Agent", "id": given.agent},
        "action": {"type": "Action", "id": asked.intent.value},
        "resource": {"type": "Target", "id": str(asked.target)},
        "context": {
            "environment": given.scope.environment,
            "service": given.scope.service,
            "runbook": given.runbook,
            "kind": asked.target.kind,
            "team": dict(asked.target.labels)["team"],
            "blast": asked.blast_count,
            "rate": rate.count + 1,
            "on_target": asked.running_on_target + 1,
            "fleet": given.running_fleet + 1,
            "since": int(asked.seconds_since_last or 0),
            "confidence": round(given.confidence * 100),
            "signs": [sign.value for sign in given.signs],
        },
    }


def ask_cedar(policies: PolicySet, request: dict[str, Any]) -> AuthzResult:
    return is_authorized(request, policies, [])
