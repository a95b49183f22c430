"""A company's policy of any size, and requests about it: the same words for us and for Cedar.

A service has four Grants (one for each runbook) in each of two environments and Limits of its own; ten Limits hold for
everybody (two in the smallest policy). So a larger policy is one of more services, as in life. Requests are drawn over
all services and runbooks; no two have the same target and plan.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.decisions import ActionRequest, DecisionInput, RateCount
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import IncidentId, PlanId
from watchkeeper.core.model import labels
from watchkeeper.core.subjects import Scope

ENVIRONMENTS = ("production", "staging")
AGENT = "remediator/litellm"
TEAMS = ("research", "support", "sales")
RUNBOOKS = {
    "throttle-runaway-caller": (Intent.THROTTLE, "key"),
    "cap-token-spend": (Intent.SET_BUDGET, "key"),
    "fail-over-provider": (Intent.SHIFT_TRAFFIC, "deployment"),
    "restart-worker": (Intent.RESTART, "pod"),
}
HOUR_S = 3600
T0 = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cap:
    """What a document asks: at most so many, at least so long or so sure, and a sign in the evidence."""

    blast: int | None = None
    rate: int | None = None
    per_target: int | None = None
    fleet: int | None = None
    cooldown_s: int | None = None
    confidence_pct: int | None = None
    sign: str = ""


@dataclass(frozen=True)
class Rule:
    """One document. A Grant names a runbook; a Limit leaves empty what it does not care about."""

    name: str
    grants: bool
    cap: Cap
    environment: str = ""
    service: str = ""
    runbook: str = ""
    team: str = ""


def rules(count: int, seed: int) -> list[Rule]:
    """Exactly `count` documents, at least ten; of fewer than eighteen some Grants are missing."""
    rng = random.Random(seed)
    found = [Rule(f"all-{n}", False, _cap(rng, wide=True)) for n in range(2 if count < 100 else 10)]
    for service in service_names(count):
        found += [
            Rule(
                f"g-{service}-{environment}-{runbook}",
                True,
                Cap(blast=rng.randint(2, 5)),
                environment,
                service,
                runbook,
            )
            for environment in ENVIRONMENTS
            for runbook in RUNBOOKS
        ]
    services, number = service_names(count), 0
    while len(found) < count:
        service, narrow = services[number % len(services)], rng.random()
        found.append(
            Rule(
                f"l-{service}-{number}",
                False,
                _cap(rng, wide=False),
                rng.choice(ENVIRONMENTS) if narrow < 0.5 else "",
                service,
                rng.choice(tuple(RUNBOOKS)) if narrow > 0.6 else "",
                rng.choice(TEAMS) if narrow > 0.9 else "",
            )
        )
        number += 1
    return found[:count]


def service_names(count: int) -> list[str]:
    return [f"service-{n}" for n in range(max(1, (count - 10) // 25))]


def _cap(rng: random.Random, *, wide: bool) -> Cap:
    most = rng.randint(20, 40) if wide else rng.randint(3, 12)
    return rng.choice(
        (
            Cap(blast=most),
            Cap(rate=most * 2),
            Cap(per_target=2, fleet=most * 2),
            Cap(cooldown_s=30 if wide else rng.choice((60, 300))),
            Cap(confidence_pct=30 if wide else rng.choice((40, 50, 60))),
            Cap(sign=Sign.CYCLE.value),
        )
    )


def requests(count: int, documents: int, seed: int) -> Iterator[DecisionInput]:
    rng = random.Random(seed)
    services = service_names(documents)
    for number in range(count):
        runbook = rng.choice(tuple(RUNBOOKS))
        yield _request(rng, number, runbook, rng.choice(services))


def _request(rng: random.Random, number: int, runbook: str, service: str) -> DecisionInput:
    intent, kind = RUNBOOKS[runbook]
    target = Target(adapter="litellm:main", kind=kind, id=f"{number:08x}", labels=labels(team=rng.choice(TEAMS)))
    asked = ActionRequest(
        step=0,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=target,
        blast_count=rng.randint(1, 4),
        blast_population=rng.randint(4, 40),
        undo_captured=True,
        verification_declared=True,
        seconds_since_last=float(rng.choice((10, 45, 200, 4000))),
        running_on_target=rng.choice((0, 0, 0, 1, 2)),
    )
    return DecisionInput(
        incident=IncidentId(f"inc_{number:028x}"),
        plan=PlanId(f"pln_{number:028x}"),
        plan_hash=f"sha256:{rng.getrandbits(256):064x}",
        runbook=runbook,
        agent=AGENT,
        manifest_digest="sha256:01",
        scope=Scope(environment=rng.choice(ENVIRONMENTS), service=service),
        mode=rng.choice(tuple(FailureMode)),
        severity=rng.choice(tuple(Severity)),
        confidence=rng.randint(30, 100) / 100,
        novel=False,
        edge_proven=True,
        signs=(Sign.CYCLE,) if rng.random() < 0.9 else (Sign.DEPTH,),
        requests=(asked,),
        rates=(RateCount(window_s=HOUR_S, count=rng.randint(0, 12)),),
        running_fleet=rng.randint(0, 12),
        at=T0 + timedelta(seconds=number),
    )
