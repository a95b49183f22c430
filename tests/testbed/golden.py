"""Writes the golden files: `python -m tests.testbed.golden`.

Run once for a new kind of entry or signal; it never changes a file that exists, because later versions must read what
earlier ones wrote. The exported logs are written only when there are none. `log` has an entry of every kind, made up;
the decisions of `decided/log` and `conditions/log` are the policy engine's own, and the documents they followed are
kept beside them.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.testbed.decisions import a_request, an_input
from tests.testbed.entries import PERSON, T0, one_of_each
from tests.testbed.ledgers import ORIGIN, Log
from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import (
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
from watchkeeper.core.entries import GENESIS_PREV, Draft, EntryType, Envelope
from watchkeeper.core.findings import Sign
from watchkeeper.core.ids import DecisionId, RemedyId
from watchkeeper.core.model import labels
from watchkeeper.core.principals import Role
from watchkeeper.core.signals import (
    Call,
    ErrorClass,
    Event,
    EventKind,
    Sample,
    Signal,
    Span,
    SpanOp,
    Temporality,
    Usage,
)
from watchkeeper.core.subjects import Scope, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.ledger.exports.export import export
from watchkeeper.ledger.signing.keys import SigningKey
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import load
from watchkeeper.policies.versions import PolicyVersions
from watchkeeper.signals.state import SignalState, StateConfig
from watchkeeper.store.engine import Store
from watchkeeper.store.metadata import METADATA
from watchkeeper.store.schema import register_tables

Cases = Callable[[], Iterator[DecisionInput]]

GOLDEN = Path(__file__).parent.parent / "ledger" / "golden"
LOG = GOLDEN / "log"
DECIDED = GOLDEN / "decided" / "log"
POLICIES = GOLDEN / "decided" / "policies"
CONDITIONS = GOLDEN / "conditions" / "log"
CONDITIONED = GOLDEN / "conditions" / "policies"
SIGNALS = Path(__file__).parent.parent / "signals" / "golden"
STATE = SIGNALS / "signal-state.v1.json"


def golden_file(kind: EntryType) -> Path:
    return GOLDEN / f"{kind.removeprefix('dev.watchkeeper.')}.json"


def _envelope(number: int, kind: EntryType) -> Envelope:
    made = one_of_each()[kind]
    prev = GENESIS_PREV if number == 0 else hashlib.sha256(kind.encode()).hexdigest()
    return Envelope(
        id=f"ent_019b7c1d4e5f{number:016x}",
        source=f"{ORIGIN}/golden",
        type=kind,
        time=T0,
        subject=made.subject,
        wkseq=number + 1,
        wkprev=prev,
        data=made.data.model_dump(mode="json"),
    )


def write_entries() -> None:
    for number, kind in enumerate(one_of_each()):
        path = golden_file(kind)
        if not path.exists():
            path.write_bytes(_envelope(number, kind).to_bytes())


async def write_log(log: Log) -> None:
    """A small log in several batches, long enough for a full tile."""
    for _ in range(13):
        await log.append(*one_of_each().values())
        await log.sequencer.run_once()


async def write_decided(log: Log, policies: Path = POLICIES, cases: Cases | None = None) -> None:
    """Every case, weighed under every policy that is kept there."""
    versions = PolicyVersions(log.store, log.ledger, log.clock)
    operator = PERSON.model_copy(update={"roles": (Role.OPERATOR,)})
    number = 0
    for file in sorted(policies.glob("*.yaml")):
        await versions.activate(load(file), operator)
        policy = await versions.active()
        for given in (cases or decision_cases)():
            number += 1
            record = DecisionRecord(
                id=DecisionId(f"dec_019b7c1d4e5f{number:016x}"), input=given, decision=decide(policy, given)
            )
            await log.append(Draft(type=EntryType.DECISION, subject=given.incident, data=record))
        await log.sequencer.run_once()


def decision_cases() -> Iterator[DecisionInput]:
    """What no gate holds up, and what each gate by itself does."""
    yield an_input()
    yield an_input(trust_lower_bound=0.9)
    yield an_input(trust_lower_bound=0.4)
    yield an_input(edge_proven=False)
    yield an_input(novel=True)
    yield an_input(confidence=0.7)
    yield an_input(signs=(Sign.RATE_OVER_BASELINE,))
    yield an_input(rates=(RateCount(window_s=3600, count=3),))
    yield an_input(running_fleet=3)
    yield an_input(conflicts=(RemedyId("rem_1"),))
    yield an_input(scope=Scope(environment="prod", service="chat"))
    for service in ("search", "notes", "mail"):
        yield an_input(scope=Scope(environment="demo", service=service))
    yield an_input(a_request(protected=True))
    yield an_input(a_request(foreign_owner=True))
    yield an_input(a_request(kind=ActionKind.IRREVERSIBLE, undo_captured=False))
    yield an_input(a_request(undo_captured=False))
    yield an_input(a_request(verification_declared=False))
    yield an_input(a_request(blast_count=4, blast_population=100))
    yield an_input(a_request(blast_count=1, blast_population=1))
    yield an_input(a_request(seconds_since_last=60.5))
    yield an_input(a_request(running_on_target=1))
    yield an_input(a_request(), a_request(step=1, blast_population=2))
    deployment = Target(adapter="litellm:main", kind="deployment", id="d1", labels=labels(team="support"))
    yield an_input(a_request(intent=Intent.SHIFT_TRAFFIC, target=deployment), runbook="fail-over-provider")
    yield an_input(a_request(intent=Intent.SET_BUDGET), runbook="cap-token-spend")
    yield an_input().model_copy(update={"requests": ()})


def condition_cases() -> Iterator[DecisionInput]:
    """What no condition holds up, and what each by itself does; as documents and people could ask it since."""
    burns = tuple(Burn(window_s=window, rate=2.0) for window in (300, 1800, 3600, 21_600))
    read = BudgetReading(objective="served", remaining=0.5, burns=burns)
    fast = tuple(burn.model_copy(update={"rate": 20.0}) for burn in burns)
    slow = tuple(burn.model_copy(update={"rate": 0.5}) for burn in burns)
    facts = VerificationFacts(horizons=2, last_s=300, guards=1)
    standing = AgentStanding(ceiling=Autonomy.FULL, promoted=Autonomy.FULL, over_budget=False)
    offsets = (ZoneOffset(zone="Europe/Berlin", seconds=3600), ZoneOffset(zone="UTC", seconds=0))
    noon = datetime(2026, 1, 7, 11, tzinfo=UTC)
    well = an_input(standing=standing, verification=facts, offsets=offsets, budgets=(read,), at=noon)
    yield well
    changes: tuple[dict[str, Any], ...] = (
        {"at": noon + timedelta(days=4)},
        {"at": noon + timedelta(hours=14)},
        {"at": noon - timedelta(days=1)},
        {"at": datetime(2026, 12, 22, 11, tzinfo=UTC)},
        {"offsets": ()},
        {"budgets": (read.model_copy(update={"remaining": 0.1}),)},
        {"budgets": (read.model_copy(update={"remaining": None}),)},
        {"budgets": (read.model_copy(update={"burns": fast}),)},
        {"budgets": (read.model_copy(update={"burns": slow}),)},
        {"budgets": ()},
        {"verification": None},
        {"verification": facts.model_copy(update={"horizons": 1})},
        {"verification": facts.model_copy(update={"last_s": 60.0})},
        {"verification": facts.model_copy(update={"guards": 0})},
        {"standing": None},
        {"standing": standing.model_copy(update={"promoted": None})},
        {"standing": standing.model_copy(update={"promoted": Autonomy.SHADOW})},
        {"standing": standing.model_copy(update={"ceiling": Autonomy.PROPOSE})},
        {"standing": standing.model_copy(update={"over_budget": True})},
        {"confidence": 0.4},
        {"signs": (Sign.DEPTH,)},
        {"requests": (a_request(blast_population=2),)},
        {"requests": (a_request(target=Target(adapter="litellm:main", kind="key", id="k2")),)},
        {"requests": (a_request(), a_request(step=1, blast_population=2))},
    )
    for changed in changes:
        yield well.model_copy(update=changed)


async def write_conditions(log: Log) -> None:
    await write_decided(log, CONDITIONED, condition_cases)


async def export_once(directory: Path, fill: Callable[[Log], Coroutine[Any, Any, None]]) -> None:
    """The signed log that `fill` wrote, unless there is one."""
    if directory.exists():
        return
    register_tables()
    with tempfile.TemporaryDirectory() as scratch:
        store = Store(f"sqlite+aiosqlite:///{scratch}/golden.db")
        async with store.write() as tx:
            await tx.run_sync(METADATA.create_all)
        key = SigningKey(ORIGIN, Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"golden").digest()))
        log = Log(store, ManualClock(T0), key)
        await fill(log)
        try:
            await export(log.reader, directory, key.verifier.vkey)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        finally:
            await store.close()


KEY = Subject(kind=SubjectKind.KEY, id="9f86d081884c7d65")
USAGE = Usage(input=120, output=34, cached=20, reasoning=7)


def _sample() -> Sample:
    return Sample(
        id="smp-1",
        source="prometheus:main",
        at=T0,
        name="litellm_requests_total",
        subject=KEY,
        value=12.5,
        unit="1",
        temporality=Temporality.CUMULATIVE,
        labels=labels(team="assistants"),
    )


def _event() -> Event:
    return Event(
        id="evt-1",
        source="alertmanager",
        at=T0,
        kind=EventKind.ALERT,
        name="SpendTooHigh",
        subject=KEY,
        active=False,
        labels=labels(severity="page"),
    )


def _span() -> Span:
    return Span(
        id="0af7651916cd43dd/b7ad6b7169203331",
        source="otlp",
        at=T0,
        trace_id="0af7651916cd43dd",
        span_id="b7ad6b7169203331",
        parent_id="00f067aa0ba902b7",
        started=T0 - timedelta(seconds=1.5),
        op=SpanOp.MODEL,
        run_id="run-1",
        service="chat",
        environment="prod",
        agent="planner",
        key=KEY.id,
        provider="openai",
        model="gpt-x-2026",
        requested_model="gpt-x",
        deployment="dep-1",
        call_id="chatcmpl-1",
        usage=USAGE,
        cost_usd=0.0125,
        tool="lookup",
        tool_call_digest="sha256:00",
        finish_reason="stop",
        error=ErrorClass.RATE_LIMITED,
        http_status=429,
        sampling_rate=0.25,
    )


def _call() -> Call:
    return Call(
        id="req-1",
        source="gateway:main",
        at=T0,
        started=T0 - timedelta(seconds=1.5),
        call_id="chatcmpl-2",
        gateway="main",
        key=KEY.id,
        team="assistants",
        service="chat",
        environment="prod",
        agent="planner",
        model_group="gpt-x",
        model="gpt-x-2026",
        deployment="dep-1",
        provider="openai",
        usage=USAGE,
        cost_usd=0.0125,
        error=ErrorClass.SERVER,
        http_status=503,
    )


def one_signal_of_each() -> tuple[Signal, ...]:
    """Of one model call and what is around it, with every field filled."""
    return (_sample(), _event(), _span(), _call())


def signal_file(signal: Signal) -> Path:
    return SIGNALS / f"{signal.schema_name.removeprefix('watchkeeper.dev/').replace('/', '.')}.json"


def write_signals() -> None:
    state = SignalState(StateConfig(), Topology())
    for signal in one_signal_of_each():
        if not signal_file(signal).exists():
            signal_file(signal).write_bytes(canonical_model(signal))
        state.apply(signal, T0)
    if not STATE.exists():
        STATE.write_bytes(state.snapshot())


if __name__ == "__main__":
    for folder in (GOLDEN, SIGNALS):
        folder.mkdir(exist_ok=True)
    write_entries()
    write_signals()
    asyncio.run(export_once(LOG, write_log))
    asyncio.run(export_once(DECIDED, write_decided))
    asyncio.run(export_once(CONDITIONS, write_conditions))
