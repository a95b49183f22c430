"""Findings for tests, with as little in them as the test says."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from tests.testbed.traffic import at
from watchkeeper.agents.detector.basis import Basis
from watchkeeper.agents.detector.drafting import Detected, drawn_from
from watchkeeper.agents.detector.evaluate import judge_again
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.findings import Attribution, FailureMode, Finding, Observation, Severity, Sign
from watchkeeper.core.ids import FindingId
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind

AGENT, KEY = Subject(kind=SubjectKind.AGENT, id="bot"), Subject(kind=SubjectKind.KEY, id="key-a")
OTHER_KEY = Subject(kind=SubjectKind.KEY, id="key-b")
MODEL = Subject(kind=SubjectKind.MODEL, id="chat")
DEPLOYMENT = Subject(kind=SubjectKind.DEPLOYMENT, id="dep-1")
SPARE = Subject(kind=SubjectKind.DEPLOYMENT, id="dep-2")
PROVIDER = Subject(kind=SubjectKind.PROVIDER, id="openai")


def again(detected: Detected) -> Finding:
    """The finding judged again from its basis, which must give the same one, byte for byte (invariant 8)."""
    basis = Basis.model_validate_json(detected.snapshot)
    assert basis.facts is not None
    made = judge_again(basis, basis.facts)
    assert made is not None
    same = drawn_from(made, detected.snapshot)
    assert canonical_model(same) == canonical_model(detected.finding)
    return same


def link(*chain: Subject, known_from: EdgeSource = EdgeSource.CALL_ID) -> tuple[Edge, ...]:
    return tuple(Edge(source=a, target=b, known_from=known_from) for a, b in pairwise(chain))


def finding(
    mode: FailureMode,
    subject: Subject,
    *signs: tuple[Sign, float, float, str],
    causes: tuple[Subject, ...] = (),
    edges: tuple[Edge, ...] = (),
    onset: datetime = at(0),  # noqa: B008
    detected: datetime = at(60),  # noqa: B008
    estimated: bool = False,
    name: str = "",
    share: float = 1.0,
) -> Finding:
    return Finding(
        id=FindingId(name or f"fnd_{mode}_{subject.id}"),
        detector="detector/test",
        mode=mode,
        subject=subject,
        scope=Scope(environment="production", service="svc"),
        severity=Severity.WARNING,
        onset=onset,
        detected=detected,
        observations=tuple(Observation(sign=s, observed=o, expected=e, unit=u) for s, o, e, u in signs),
        attribution=tuple(Attribution(subject=each, share=share) for each in causes),
        edges=edges,
        estimated=estimated,
        state_digest="sha256:0",
        code_digest="sha256:0",
    )


def loop(**changes: object) -> Finding:
    made = finding(
        FailureMode.RUNAWAY_LOOP, AGENT, (Sign.REPEATED_TOOL_CALL, 20, 10, "calls"),
        causes=(AGENT, KEY), edges=link(AGENT, KEY),
    )  # fmt: skip
    return made.model_copy(update=changes)


def spike(subject: Subject = KEY, **changes: object) -> Finding:
    made = finding(
        FailureMode.COST_SPIKE, subject, (Sign.RATE_OVER_BASELINE, 5, 1, "usd/min"),
        causes=(subject,), edges=link(subject, MODEL, DEPLOYMENT, PROVIDER),
    )  # fmt: skip
    return made.model_copy(update=changes)


def outage(subject: Subject = DEPLOYMENT, sign: Sign = Sign.HTTP_5XX, **changes: object) -> Finding:
    made = finding(
        FailureMode.PROVIDER_OUTAGE, subject, (sign, 1.0, 0.5, "share"),
        causes=(subject,), edges=link(MODEL, DEPLOYMENT, PROVIDER),
    )  # fmt: skip
    return made.model_copy(update=changes)
