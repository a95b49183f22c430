"""Exports full of decisions: the golden ones, and as many others as wanted, made by this version's policy engine.

They are not signed: replay reads entries and policies, and leaves signatures to verify.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.testbed.decisions import a_grant, a_limit, a_policy
from tests.testbed.golden import DECIDED, POLICIES
from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.decisions import ActionRequest, DecisionInput, DecisionRecord, RateCount
from watchkeeper.core.entries import GENESIS_PREV, EntryType, Envelope
from watchkeeper.core.findings import FailureMode, Severity, Sign
from watchkeeper.core.ids import DecisionId, IncidentId, PlanId
from watchkeeper.core.model import Contract, labels
from watchkeeper.core.subjects import Scope
from watchkeeper.ledger.exports.jsonlines import lines
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.kept import policies_of, write_policies
from watchkeeper.policies.load import load
from watchkeeper.policies.model import PolicyDocument

T0 = datetime(2026, 3, 1, tzinfo=UTC)
SERVICES = tuple(f"service-{n}" for n in range(12))
RUNBOOKS = {
    "throttle-runaway-caller": (Intent.THROTTLE, "key"),
    "cap-token-spend": (Intent.SET_BUDGET, "key"),
    "fail-over-provider": (Intent.SHIFT_TRAFFIC, "deployment"),
}
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
    write_policies(directory, *policies_of(policies))
    return directory


def golden_export(directory: Path) -> Path:
    """The golden decisions beside the policies they followed, as an export keeps them."""
    shutil.copytree(DECIDED, directory)
    write_policies(directory, *policies_of(golden_policies()))
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


def varied_export(directory: Path, count: int, seed: int, documents: int = 40, policies: int = 3) -> Path:
    """`count` decisions, no two of one input, made under one policy of `documents` documents after another."""
    rng = random.Random(seed)
    some = [a_varied_policy(rng, documents) for _ in range(policies)]
    return write_export(directory, _varied(rng, count, some), some)


def _varied(rng: random.Random, count: int, policies: Sequence[Policy]) -> Iterator[Envelope]:
    for number in range(count):
        policy = policies[number * len(policies) // count]
        given = a_varied_input(rng, number, policy.rate_windows)
        record = DecisionRecord(id=DecisionId(f"dec_{number:028x}"), input=given, decision=decide(policy, given))
        yield envelope(number, EntryType.DECISION, record, given.incident, given.at)


def a_varied_policy(rng: random.Random, documents: int) -> Policy:
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
    some += [_a_varied_limit(rng, n) for n in range(documents - len(some))]
    return a_policy(*some)


def _a_varied_limit(rng: random.Random, number: int) -> PolicyDocument:
    spec: dict[str, Any] = rng.choice(
        (
            {"caps": {"maxBlastShare": rng.choice((0.25, 0.5, 1.0))}},
            {"caps": {"cooldown": f"{rng.randint(1, 30)}m"}, "failurePolicy": "RequireApproval"},
            {"caps": {"concurrency": {"perTarget": rng.randint(1, 2), "fleet": rng.randint(2, 8)}}},
            {"minConfidence": rng.choice((0.5, 0.7, 0.9))},
            {"requiredEvidence": [rng.choice((Sign.CYCLE, Sign.DEPTH)).value]},
            {"approvals": [{"roles": ["approver"], "quorum": rng.randint(1, 2), "ttl": "30m"}]},
        )
    )
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
