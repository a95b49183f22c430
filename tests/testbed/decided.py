"""Exports full of decisions: the golden ones, and as many others as wanted, made by this version's policy engine.

They are not signed: replay reads entries and policies, and leaves signatures to verify.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.testbed.decisions import a_grant, a_limit, a_policy
from tests.testbed.golden import DECIDED, POLICIES
from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.decisions import (
    ActionRequest,
    AgentStanding,
    Autonomy,
    BudgetReading,
    Burn,
    DecisionInput,
    DecisionRecord,
    RateCount,
    VerificationFacts,
    ZoneOffset,
)
from watchkeeper.core.entries import GENESIS_PREV, EntryType, Envelope
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import DecisionId, IncidentId, PlanId
from watchkeeper.core.model import Contract, labels
from watchkeeper.core.subjects import Scope
from watchkeeper.ledger.exports.jsonlines import lines
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import load
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.replay.kept import Version, policy_files

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SERVICES = tuple(f"service-{n}" for n in range(12))
RUNBOOKS = {
    "throttle-runaway-caller": (Intent.THROTTLE, "key"),
    "cap-token-spend": (Intent.SET_BUDGET, "key"),
    "fail-over-provider": (Intent.SHIFT_TRAFFIC, "deployment"),
}
ZONES = ("Europe/Berlin", "UTC")
TEAMS = ("research", "support", "sales")


def envelope(number: int, kind: EntryType, data: Contract, subject: str = "", at: datetime = T0) -> Envelope:
    return Envelope(
        id=f"ent_019b7c1d4e5f{number:016x}",
        source="log.example.com/test/one",
        type=kind,
        time=at,
        subject=subject,
        wkseq=number + 1,
        wkprev=GENESIS_PREV,
        data=data.model_dump(mode="json"),
    )


def write_export(directory: Path, envelopes: Iterable[Envelope], policies: Iterable[Policy]) -> Path:
    directory.mkdir(parents=True)
    with (directory / ENTRIES).open("xb") as file:
        file.writelines(each.to_bytes() + b"\n" for each in envelopes)
    write_policies(directory, policies)
    return directory


def write_policies(directory: Path, policies: Iterable[Policy]) -> None:
    """Into the directory of an export, as the daemon's export has them."""
    every = list(policies)
    versions = [Version(version=each.version, documents=tuple(node.digest for node in each.nodes)) for each in every]
    bodies = {node.digest: node.document.body() for each in every for node in each.nodes}
    for name, content in policy_files(versions, bodies.values()):
        with (directory / name).open("xb") as file:
            file.write(content)


def golden_export(directory: Path) -> Path:
    """The golden decisions beside the policies they followed, as an export keeps them."""
    shutil.copytree(DECIDED, directory)
    write_policies(directory, golden_policies())
    return directory


def golden_policies() -> list[Policy]:
    return [compile_policy(load(file)) for file in sorted(POLICIES.glob("*.yaml"))]


def decided(directory: Path) -> Iterator[tuple[str, DecisionRecord]]:
    """Entry ids and decisions of an export."""
    for line in lines(directory / ENTRIES, 65_535):
        entry = Envelope.model_validate_json(line)
        record = entry.typed()
        if isinstance(record, DecisionRecord):
            yield entry.id, record


def varied_export(
    directory: Path, count: int, seed: int, documents: int = 40, policies: int = 3, *, conditions: bool = False
) -> Path:
    """`count` decisions, no two of one input, made under one policy of `documents` documents after another. With
    `conditions` the documents ask for windows, budgets, rules and people's word as well."""
    rng = random.Random(seed)
    some = [a_varied_policy(rng, documents, conditions=conditions) for _ in range(policies)]
    return write_export(directory, _varied(rng, count, some, conditions=conditions), some)


def _varied(rng: random.Random, count: int, policies: Sequence[Policy], *, conditions: bool) -> Iterator[Envelope]:
    for number in range(count):
        policy = policies[number * len(policies) // count]
        given = a_varied_input(rng, number, policy.rate_windows)
        if conditions:
            given = _with_conditions(rng, given)
        record = DecisionRecord(id=DecisionId(f"dec_{number:028x}"), input=given, decision=decide(policy, given))
        yield envelope(number, EntryType.DECISION, record, given.incident, given.at)


def a_varied_policy(rng: random.Random, documents: int, *, conditions: bool = False) -> Policy:
    """A Grant for most services, and Limits of every sort over some of them."""
    some = [
        a_grant(
            f"g{n}",
            rng.choice(("bounded", "bounded", "full", "propose")),
            match={"services": [service], "runbooks": rng.sample(sorted(RUNBOOKS), 2)},
            caps={"maxBlastCount": rng.randint(1, 4), "rate": {"count": rng.randint(2, 9), "per": "1h"}, "ttl": "2h"},
        )
        for n, service in enumerate(SERVICES[:-1])
    ]
    kinds = _CONDITIONS if conditions else _BOUNDS
    some += [_a_varied_limit(rng, n, rng.choice(kinds)(rng)) for n in range(documents - len(some))]
    return a_policy(*some)


_Spec = Callable[[random.Random], dict[str, Any]]
_BOUNDS: tuple[_Spec, ...] = (
    lambda rng: {"caps": {"maxBlastShare": rng.choice((0.25, 0.5, 1.0))}},
    lambda rng: {"caps": {"cooldown": f"{rng.randint(1, 30)}m"}, "failurePolicy": "RequireApproval"},
    lambda rng: {"caps": {"concurrency": {"perTarget": rng.randint(1, 2), "fleet": rng.randint(2, 8)}}},
    lambda rng: {"minConfidence": rng.choice((0.5, 0.7, 0.9))},
    lambda rng: {"requiredEvidence": [rng.choice((Sign.CYCLE, Sign.DEPTH)).value]},
    lambda rng: {"approvals": [{"roles": ["approver"], "quorum": rng.randint(1, 2), "ttl": "30m"}]},
)
_CONDITIONS: tuple[_Spec, ...] = (
    *_BOUNDS,
    lambda rng: {"windows": [{"zone": rng.choice(ZONES), "start": "09:00", "end": rng.choice(("17:00", "02:00"))}]},
    lambda rng: {
        "freezes": [{"name": "f", "start": "2026-03-01T00:20:00Z", "end": "2026-03-01T00:40:00Z"}],
        "failurePolicy": "RequireApproval",
    },
    lambda rng: {"errorBudgets": [{"objective": "served", "minRemaining": rng.choice((0.1, 0.5))}]},
    lambda rng: {
        "errorBudgets": [
            {"objective": "served", "maxBurn": [{"rate": rng.randint(4, 15), "long": "1h", "short": "5m"}]}
        ]
    },
    lambda rng: {"errorBudgets": [{"objective": "served", "minBurn": [{"rate": 1, "long": "1h", "short": "5m"}]}]},
    lambda rng: {"requiredVerification": {"minHorizons": 2, "lastHorizon": "5m", "minGuards": rng.randint(1, 2)}},
    lambda rng: {"requirePromotion": True},
    lambda rng: {
        "rules": [
            {
                "name": "sure",
                "expression": f"confidence > 0.{rng.randint(3, 8)} || 'cycle' in signs && trust > 0.5",
                "message": "sure of the cause, or trusted",
                "action": rng.choice(("Deny", "RequireApproval", "Warn", "Audit")),
            }
        ]
    },
)


def _a_varied_limit(rng: random.Random, number: int, spec: dict[str, Any]) -> PolicyDocument:
    match: dict[str, Any] = {"services": rng.sample(SERVICES, 3)}
    if rng.random() < 0.3:
        match["targetLabels"] = {"team": [rng.choice(TEAMS)]}
    return a_limit(f"l{number}", match=match, **spec)


def a_varied_input(rng: random.Random, number: int, windows: Sequence[int]) -> DecisionInput:
    runbook = rng.choice(sorted(RUNBOOKS))
    return DecisionInput(
        incident=IncidentId(f"inc_{number:028x}"),
        plan=PlanId(f"pln_{number:028x}"),
        plan_hash=f"sha256:{rng.getrandbits(256):064x}",
        runbook=runbook,
        agent="remediator/litellm",
        manifest_digest=f"sha256:{rng.getrandbits(256):064x}",
        scope=Scope(environment="demo", service=rng.choice(SERVICES)),
        mode=rng.choice(tuple(FailureMode)),
        severity=rng.choice(tuple(Severity)),
        confidence=round(rng.uniform(0.3, 1.0), 4),
        novel=rng.random() < 0.1,
        edge_proven=rng.random() < 0.9,
        signs=tuple(rng.sample((Sign.CYCLE, Sign.DEPTH, Sign.RATE_OVER_BASELINE), 2)),
        requests=tuple(_a_varied_request(rng, runbook, step) for step in range(rng.choice((1, 1, 1, 2)))),
        rates=tuple(RateCount(window_s=window, count=rng.randint(0, 8)) for window in windows),
        running_fleet=rng.randint(0, 5),
        at=T0 + timedelta(seconds=number * 17.25),
    )


def _with_conditions(rng: random.Random, given: DecisionInput) -> DecisionInput:
    """What today's decisions are asked with besides; now and then something of it is not known."""
    burns = tuple(Burn(window_s=window, rate=round(rng.uniform(0, 20), 2)) for window in (300, 3600))
    read = BudgetReading(objective="served", remaining=round(rng.uniform(-0.1, 1), 3), burns=burns)
    standing = AgentStanding(
        ceiling=rng.choice((Autonomy.FULL, Autonomy.FULL, Autonomy.FULL, Autonomy.PROPOSE, Autonomy.SHADOW)),
        promoted=rng.choice((None, Autonomy.PROPOSE, Autonomy.BOUNDED, Autonomy.FULL)),
        over_budget=rng.random() < 0.1,
    )
    facts = VerificationFacts(horizons=rng.randint(1, 3), last_s=rng.choice((60.0, 300.0)), guards=rng.randint(0, 2))
    return given.model_copy(
        update={
            "standing": None if rng.random() < 0.2 else standing,
            "verification": None if rng.random() < 0.1 else facts,
            "offsets": () if rng.random() < 0.1 else tuple(ZoneOffset(zone=zone, seconds=3600) for zone in ZONES),
            "budgets": () if rng.random() < 0.1 else (read,),
            "trust_lower_bound": None if rng.random() < 0.3 else round(rng.random(), 3),
            "at": given.at + timedelta(hours=rng.choice((0, 0, 0, 8, 15, 16))),
        }
    )


def _a_varied_request(rng: random.Random, runbook: str, step: int) -> ActionRequest:
    intent, kind = RUNBOOKS[runbook]
    return ActionRequest(
        step=step,
        intent=intent,
        kind=ActionKind.REVERSIBLE,
        target=Target(
            adapter="litellm:main",
            kind=kind,
            id=f"{rng.getrandbits(64):016x}",
            labels=labels(team=rng.choice(TEAMS)) if rng.random() < 0.7 else (),
        ),
        blast_count=rng.randint(1, 3),
        blast_population=rng.randint(3, 40),
        undo_captured=rng.random() < 0.95,
        verification_declared=rng.random() < 0.95,
        foreign_owner=rng.random() < 0.05,
        seconds_since_last=None if rng.random() < 0.3 else round(rng.expovariate(1 / 900), 6),
        running_on_target=rng.choice((0, 0, 0, 1)),
    )
