"""However long the names that telemetry gives, what is recorded of a trouble fits a ledger entry (invariant 10)."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert
from tests.testbed.findings import finding
from tests.testbed.traffic import at, call, span

from watchkeeper.agents.detector.config import DetectorConfig
from watchkeeper.agents.detector.drafting import MAX_FINDING
from watchkeeper.agents.detector.evaluate import Detectors
from watchkeeper.agents.diagnoser.gateway import MAX_DIAGNOSIS, MAX_FINDINGS, diagnose
from watchkeeper.agents.incidents import Incidents
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.entries import MAX_ENTRY_BYTES
from watchkeeper.core.findings import Attribution, FailureMode, Sign
from watchkeeper.core.ids import DiagnosisId, IncidentId
from watchkeeper.core.signals import ErrorClass, SpanOp
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind
from watchkeeper.core.topology import Topology
from watchkeeper.ledger.append import Ledger
from watchkeeper.ledger.evidence.store import Evidence
from watchkeeper.policies.tables import authority_epoch
from watchkeeper.signals.names import MAX_NAME, clean
from watchkeeper.signals.state import SignalState, StateConfig
from watchkeeper.store.engine import Store

ENVELOPE = 4_000
LETTERS = st.sampled_from(["\U0001f525", "é", "x", '"', "\\"])


def long(letter: str, number: int) -> str:
    """As long a name as the wire lets in, and no other number's."""
    room = MAX_NAME - 4
    width = len(letter.encode()) + (letter in '"\\')
    name = f"{number:04}" + letter * (room // width)
    assert clean(name) == name
    return name


@settings(max_examples=10, deadline=None)
@given(letter=LETTERS)
def test_invariant_10_a_finding_fits_an_entry_whatever_the_names(letter: str) -> None:
    state = SignalState(StateConfig(bucket_s=2, step_s=10), Topology())
    state.learn(
        [
            Edge(
                source=Subject(kind=SubjectKind.MODEL, id=long(letter, n)),
                target=Subject(kind=SubjectKind.DEPLOYMENT, id=long(letter, 0)),
                known_from=EdgeSource.INVENTORY,
            )
            for n in range(80)
        ],
        "main",
    )
    for n in range(80):
        failed = call(
            f"c{n}",
            at(n / 10),
            error=ErrorClass.SERVER,
            service=long(letter, n),
            key=long(letter, n),
            model=long(letter, n),
            deployment=long(letter, 0),
            provider=long(letter, 0),
        )
        state.apply(failed, at(n / 10))
        state.apply(span(f"t{n}", at(n / 10), SpanOp.TOOL, agent=long(letter, 1), digest="d", tool="x"), at(n / 10))
        state.apply(span(f"m{n}", at(n / 10), SpanOp.MODEL, agent=long(letter, 1), call_id=f"c{n}"), at(n / 10))
    found = Detectors(DetectorConfig()).evaluate(state, at(8))
    assert {each.finding.mode for each in found} >= {FailureMode.PROVIDER_OUTAGE, FailureMode.RUNAWAY_LOOP}
    for each in found:
        assert len(canonical_model(each.finding)) <= MAX_FINDING < MAX_ENTRY_BYTES - ENVELOPE
        assert each.finding.edges
    outage = next(each.finding for each in found if each.finding.mode is FailureMode.PROVIDER_OUTAGE)
    assert outage.attribution


def test_invariant_10_a_diagnosis_of_many_findings_fits_an_entry_and_the_evidence_store() -> None:
    chain = [Subject(kind=SubjectKind.AGENT, id=long('"', n)) for n in range(6)]
    edges = tuple(Edge(source=a, target=b, known_from=EdgeSource.CALL_ID) for a, b in pairwise(chain))
    findings = []
    for n in range(200):
        key = Subject(kind=SubjectKind.KEY, id=long('"', n % 40))
        made = finding(
            FailureMode.RUNAWAY_LOOP, chain[0], (Sign.DEPTH, 99, 50, "iterations"), causes=(key,), name=f"fnd_{n:032}",
            edges=(*edges, Edge(source=chain[-1], target=key, known_from=EdgeSource.CALL_ID)),
        )  # fmt: skip
        parts = (*made.attribution, *(Attribution(subject=each, share=0.1) for each in chain))
        findings.append(made.model_copy(update={"attribution": parts}))
    state = SignalState(StateConfig(), Topology())
    drawn = diagnose(IncidentId("inc_1"), tuple(findings), state, at(60), DiagnosisId("dgn_1"))
    assert drawn.diagnosis.causes
    assert len(canonical_model(drawn.diagnosis)) <= MAX_DIAGNOSIS + ENVELOPE < MAX_ENTRY_BYTES
    assert len(drawn.snapshot) <= MAX_FINDINGS * (MAX_FINDING + 1000)


async def test_the_longest_names_fit_every_column(store: Store) -> None:
    clock = ManualClock()
    name = "x" * MAX_NAME
    scope = Scope(environment=name, service=name)
    subject = Subject(kind=SubjectKind.PROMPT_VERSION, id=name)
    found = finding(FailureMode.COST_SPIKE, subject, name="fnd_1").model_copy(update={"scope": scope})
    incidents = Incidents(store, Ledger(store, clock, source="test", writer="w"), Evidence(store, clock=clock), clock)
    incident = await incidents.get(await incidents.open(found, b"{}"))
    assert (incident.scope, incident.subject) == (scope, str(subject))
    async with store.write() as tx:
        row = {"scope": f"service:{scope}", "epoch": 1, "stopped": True, "changed": clock.now(), "changed_by": "olga"}
        await tx.execute(insert(authority_epoch).values(row))
