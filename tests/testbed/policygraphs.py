"""Policies of up to a thousand documents that ask for all a document can ask, and requests to them, from a seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.testbed.decisions import a_document, a_request, an_input
from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.decisions import (
    ActionRequest,
    AgentStanding,
    Autonomy,
    BudgetReading,
    Burn,
    DecisionInput,
    RateCount,
    VerificationFacts,
)
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import RemedyId
from watchkeeper.core.phases import Phase
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.conditions.when import offsets_at
from watchkeeper.policies.model import PolicyDocument

WORDS = {
    "environments": ("demo", "staging", "production"),
    "services": tuple(f"service-{n}" for n in range(12)),
    "agents": ("remediator/litellm", "remediator/kubernetes", "remediator/linux"),
    "runbooks": tuple(f"runbook-{n}" for n in range(6)),
    "intents": ("throttle", "set_budget", "restart", "scale"),
    "targetKinds": ("key", "deployment", "pod"),
}
ZONES, OBJECTIVES, LABELS = ("UTC", "Europe/Berlin", "Asia/Tokyo"), ("served", "fast"), ("team", "tier")
EXPRESSIONS = (
    "confidence > 0.3",
    "trust > 0.5 || blastCount < 3",
    "targetLabels['tier'] == 'a'",
    "!(intent in ['restart', 'scale']) || kind != 'irreversible'",
    "signs.exists(s, s == 'cycle') || severity == 'critical'",
    "double(blastCount) / double(blastPopulation) < 0.9 && runningFleet + runningOnTarget < 9",
    "environment.startsWith('p') && service.size() > runbook.size() ? novel : edgeProven",
    "trust >= 0.0",
)
START = datetime(2026, 1, 1, tzinfo=UTC)


def documents(rng: random.Random, most: int = 1000) -> list[PolicyDocument]:
    """How many there are, and how much each of them asks, differs from seed to seed; some ask for everything."""
    count = rng.choice((rng.randint(1, 10), rng.randint(10, 100), rng.randint(100, most), most))
    often = rng.choice((0.0, 0.002, 0.02, 0.2, 1.0))
    return [document(rng, n, often) for n in range(count)]


def document(rng: random.Random, number: int, often: float, kind: str = "") -> PolicyDocument:
    kind = kind or rng.choice(("Grant", "Limit"))
    grants = kind == "Grant"
    match: dict[str, Any] = {}
    for dimension, words in WORDS.items():
        if grants or rng.random() < 0.4:
            some = rng.sample(words, rng.randint(1, 2))
            match[dimension] = ["*"] if rng.random() < (0.75 if grants else 0.1) else some
    if rng.random() < 0.2:
        match["targetLabels"] = {rng.choice(LABELS): rng.choice((["a"], ["b", "c"], ["*"]))}
    if rng.random() < 0.1:
        match["phases"] = rng.sample([each.value for each in Phase], 2)
    spec = {name: value for name, value in asked(rng).items() if rng.random() < often}
    if grants or rng.random() < often:
        mostly = ("bounded", "full") if rng.random() > often else tuple(each.value for each in Autonomy)
        spec["autonomy"] = rng.choice(mostly)
    return a_document(kind, f"d{number}", match, **spec)


def asked(rng: random.Random) -> dict[str, Any]:
    """All that a document can ask beside its autonomy."""
    start = START + timedelta(hours=rng.randint(-100, 100))
    return {
        "caps": {
            "maxBlastCount": rng.randint(1, 9),
            "maxBlastShare": rng.choice((0.1, 0.5, 1.0)),
            "rate": {"count": rng.randint(1, 9), "per": rng.choice(("10m", "1h", "1d"))},
            "cooldown": rng.choice(("30s", "5m")),
            "concurrency": {"perTarget": rng.randint(1, 3), "fleet": rng.randint(1, 9)},
            "ttl": f"{rng.randint(1, 90)}m",
        },
        "trustFloor": rng.choice((0.0, 0.3, 0.85)),
        "minConfidence": rng.choice((0.0, 0.3, 0.9)),
        "requiredEvidence": rng.sample([each.value for each in Sign][:4], rng.randint(0, 2)),
        "requiredVerification": {
            "minHorizons": rng.randint(1, 3),
            "lastHorizon": rng.choice(("1m", "10m")),
            "minGuards": rng.randint(1, 2),
        },
        "requirePromotion": rng.random() < 0.5,
        "windows": [window(rng) for _ in range(rng.randint(0, 2))],
        "freezes": [
            {
                "name": f"f{n}",
                "start": start.isoformat(),
                "end": (start + timedelta(hours=rng.randint(1, 9))).isoformat(),
            }
            for n in range(rng.randint(0, 2))
        ],
        "errorBudgets": [budget(rng, name) for name in rng.sample(OBJECTIVES, rng.randint(0, 2))],
        "rules": [
            {
                "name": f"r{n}",
                "expression": expression,
                "message": "m",
                "action": rng.choice(("Deny", "RequireApproval", "Warn", "Audit")),
            }
            for n, expression in enumerate(rng.sample(EXPRESSIONS, rng.randint(0, 3)))
        ],
        "approvals": [approval(rng) for _ in range(rng.randint(0, 2))],
        "failurePolicy": rng.choice(("Deny", "RequireApproval")),
    }


def window(rng: random.Random) -> dict[str, Any]:
    return {
        "zone": rng.choice(ZONES),
        "days": rng.sample(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), rng.randint(3, 7)),
        "start": rng.choice(("00:00", "08:00", "22:00")),
        "end": rng.choice(("06:00", "17:30", "24:00")),
        "holidays": rng.choice(([], ["2026-01-01"], ["2026-01-06", "2026-12-25"])),
    }


def budget(rng: random.Random, objective: str) -> dict[str, Any]:
    burns = [{"rate": rng.choice((2, 6, 14.4)), "long": rng.choice(("1h", "6h")), "short": "5m"}]
    some = {"minRemaining": rng.choice((0.0, 0.1, 0.5)), "maxBurn": burns, "minBurn": burns}
    kept = rng.sample(sorted(some), rng.randint(1, 3))
    return {"objective": objective, **{name: some[name] for name in kept}}


def approval(rng: random.Random) -> dict[str, Any]:
    steps = [{"after": "2m", "roles": ["operator"]}, {"after": "4m", "roles": ["admin"], "notify": ["pager"]}]
    return {
        "roles": rng.sample(("approver", "operator", "admin"), rng.randint(1, 2)),
        "quorum": rng.randint(1, 3),
        "ttl": rng.choice(("5m", "1h")),
        "notAuthor": rng.random() < 0.5,
        "separate": rng.random() < 0.5,
        "escalation": steps[: rng.randint(0, 2)],
    }


def an_asked(rng: random.Random) -> DecisionInput:
    """A plan of one to three actions, mostly in good order: every gate can pass."""
    at = START + timedelta(minutes=rng.randint(-6000, 6000))
    good = rng.random() < 0.6
    return an_input(
        *(_request(rng, step, good) for step in range(rng.randint(1, 3))),
        scope=Scope(environment=rng.choice(WORDS["environments"]), service=rng.choice((*WORDS["services"], "new"))),
        phase=rng.choice((None, *Phase)),
        agent=rng.choice(WORDS["agents"]),
        runbook=rng.choice(WORDS["runbooks"]),
        mode=rng.choice(tuple(FailureMode)),
        severity=rng.choice(tuple(Severity)),
        confidence=1.0 if good else rng.random(),
        novel=not good and rng.random() < 0.3,
        edge_proven=good or rng.random() < 0.7,
        signs=tuple(rng.sample(list(Sign)[:4], 4 if good else rng.randint(0, 4))),
        rates=tuple(RateCount(window_s=each, count=0 if good else rng.randint(0, 9)) for each in (600, 3600, 86_400)),
        running_fleet=0 if good else rng.randint(0, 9),
        trust_lower_bound=1.0 if good else rng.choice((None, rng.random())),
        conflicts=() if good or rng.random() < 0.8 else (RemedyId("rem_1"),),
        standing=AgentStanding(
            ceiling=Autonomy.FULL if good else rng.choice(tuple(Autonomy)),
            promoted=Autonomy.FULL if good else rng.choice((None, *Autonomy)),
            over_budget=not good and rng.random() < 0.2,
        ),
        verification=VerificationFacts(horizons=3, last_s=600.0, guards=2) if good else _facts(rng),
        offsets=offsets_at(ZONES, at),
        budgets=tuple(_reading(rng, name, good) for name in OBJECTIVES),
        at=at,
    )


def _facts(rng: random.Random) -> VerificationFacts:
    return VerificationFacts(horizons=rng.randint(0, 3), last_s=rng.random() * 900, guards=rng.randint(0, 2))


def _reading(rng: random.Random, objective: str, good: bool) -> BudgetReading:
    burns = tuple(Burn(window_s=each, rate=2.0 if good else rng.random() * 20) for each in (300, 3600, 21_600))
    return BudgetReading(objective=objective, remaining=1.0 if good else rng.uniform(-1, 1), burns=burns)


def _request(rng: random.Random, step: int, good: bool) -> ActionRequest:
    labels = tuple(sorted({name: rng.choice("abcd") for name in LABELS if rng.random() < 0.5}.items()))
    return a_request(
        step=step,
        intent=Intent(rng.choice(WORDS["intents"])),
        kind=ActionKind.REVERSIBLE if good else rng.choice(tuple(ActionKind)),
        target=Target(adapter="a:b", kind=rng.choice(WORDS["targetKinds"]), id=str(rng.randint(1, 3)), labels=labels),
        blast_count=1,
        blast_population=20 if good else rng.randint(1, 20),
        undo_captured=good or rng.random() < 0.7,
        verification_declared=good or rng.random() < 0.7,
        protected=not good and rng.random() < 0.1,
        foreign_owner=not good and rng.random() < 0.1,
        seconds_since_last=None if good else rng.choice((None, rng.random() * 900)),
        running_on_target=0 if good else rng.randint(0, 2),
    )
