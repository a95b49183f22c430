"""Invariant 6 over random policies and inputs: Limits never widen, a Grant widens only its own match and never past
the meet, evaluation is total, deterministic and free of order."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.testbed.decisions import a_document, a_grant, a_policy, a_request, an_input

from watchkeeper.core.actions import ActionKind, Intent, Target
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.decisions import (
    ActionRequest,
    AgentStanding,
    ApprovalTerms,
    Autonomy,
    BudgetReading,
    Burn,
    Decision,
    DecisionInput,
    RateCount,
    Verdict,
    VerificationFacts,
    ZoneOffset,
)
from watchkeeper.core.digest import digest_of
from watchkeeper.core.findings import Sign
from watchkeeper.core.phases import Phase
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.decide import decide
from watchkeeper.policies.gates.answers import WIDTH
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.terms import meet, terms_of

ENVIRONMENTS, SERVICES, AGENTS = ("demo", "prod"), ("chat", "search"), ("remediator/litellm", "remediator/other")
RUNBOOKS, KINDS = ("throttle-runaway-caller", "cap-token-spend"), ("key", "deployment")
INTENTS = (Intent.THROTTLE, Intent.SET_BUDGET, Intent.RESTART)
SIGNS = (Sign.CYCLE, Sign.DEPTH)
PHASES = (Phase.TRIAGE, Phase.PILOT, Phase.AGENT_FIRST)
WINDOWS = {600: "10m", 3600: "1h"}


def words(known: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.just(["*"]) | st.lists(st.sampled_from(known), min_size=1, max_size=2)


def matches() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "environments": words(ENVIRONMENTS),
        "services": words(SERVICES),
        "agents": words(AGENTS),
        "runbooks": words(RUNBOOKS),
        "intents": words(tuple(intent.value for intent in INTENTS)),
        "targetKinds": words(KINDS),
    }


label_match = {
    "targetLabels": st.dictionaries(st.sampled_from(("team", "tier")), words(("a", "b")), max_size=1),
    "phases": st.lists(st.sampled_from(PHASES), min_size=1, max_size=3),
}
count = st.integers(0, 3)
caps = st.fixed_dictionaries(
    {},
    optional={
        "maxBlastCount": count,
        "maxBlastShare": st.sampled_from((0.0, 0.34, 0.5, 1.0)),
        "rate": st.builds(lambda n, per: {"count": n, "per": per}, count, st.sampled_from(tuple(WINDOWS.values()))),
        "cooldown": st.sampled_from(("30s", "10m")),
        "concurrency": st.fixed_dictionaries({}, optional={"perTarget": count, "fleet": count}),
        "ttl": st.sampled_from(("5m", "1h")),
    },
)
approval = st.builds(
    lambda roles, quorum, ttl, more: {"roles": roles, "quorum": quorum, "ttl": ttl, **more},
    st.lists(st.sampled_from(("approver", "operator")), min_size=1),
    st.integers(1, 3),
    st.sampled_from(("5m", "1h")),
    st.fixed_dictionaries(
        {},
        optional={
            "notAuthor": st.booleans(),
            "separate": st.booleans(),
            "escalation": st.sampled_from(
                (
                    [{"after": "2m", "roles": ["operator"]}],
                    [{"after": "2m", "notify": ["pager"]}, {"after": "1m", "roles": ["admin"], "notify": ["b.2", "a"]}],
                )
            ),
        },
    ),
)
terms = {
    "caps": caps,
    "trustFloor": st.sampled_from((0.0, 0.5, 0.85)),
    "minConfidence": st.sampled_from((0.0, 0.5, 0.9)),
    "requiredEvidence": st.lists(st.sampled_from(tuple(sign.value for sign in SIGNS)), max_size=2),
    "approvals": st.lists(approval, max_size=2),
    "failurePolicy": st.sampled_from(("Deny", "RequireApproval")),
    "requiredVerification": st.fixed_dictionaries(
        {}, optional={"minHorizons": st.integers(1, 3), "lastHorizon": st.just("5m"), "minGuards": st.integers(1, 2)}
    ),
    "requirePromotion": st.booleans(),
    "windows": st.lists(
        st.fixed_dictionaries(
            {"zone": st.sampled_from(("UTC", "Asia/Tokyo"))},
            optional={
                "days": st.lists(st.sampled_from(("mon", "thu", "fri")), min_size=1),
                "start": st.sampled_from(("00:00", "08:00", "22:00")),
                "end": st.sampled_from(("06:00", "17:30", "24:00")),
                "holidays": st.sampled_from(([], ["2026-01-01"])),
            },
        ),
        max_size=2,
    ),
    "freezes": st.sampled_from(
        ([], [{"name": "new-year", "start": "2025-12-31T00:00:00Z", "end": "2026-01-02T00:00:00+01:00"}])
    ),
    "errorBudgets": st.sampled_from(
        (
            [],
            [{"objective": "served", "minRemaining": 0.2}],
            [{"objective": "served", "maxBurn": [{"rate": 14.4, "long": "1h", "short": "5m"}]}],
            [{"objective": "served", "minBurn": [{"rate": 2, "long": "1h", "short": "5m"}]}],
        )
    ),
    "rules": st.sampled_from(
        (
            [],
            [{"name": "sure", "expression": "confidence > 0.5", "message": "be sure"}],
            [{"name": "r", "expression": "trust > 0.5 || 'team' in targetLabels", "message": "m", "action": "Warn"}],
            [{"name": "r", "expression": "targetLabels['tier'] == 'a'", "message": "m", "action": "RequireApproval"}],
        )
    ),
}
autonomies = st.sampled_from(("none", "shadow", "propose", "bounded", "full"))
names = st.integers(0, 10**9).map(lambda n: f"d{n}")
grants = st.builds(
    lambda name, match, autonomy, spec: a_document("Grant", name, match, autonomy=autonomy, **spec),
    names,
    st.fixed_dictionaries(matches(), optional=label_match),
    autonomies | st.just("bounded") | st.just("full"),
    st.fixed_dictionaries({}, optional=terms),
)
limits = st.builds(
    lambda name, match, spec: a_document("Limit", name, match, **spec),
    names,
    st.fixed_dictionaries({}, optional=matches() | label_match),
    st.fixed_dictionaries({}, optional=terms | {"autonomy": autonomies}),
)
documents = st.lists(grants | limits, max_size=8, unique_by=lambda document: document.node)
requests = st.builds(
    ActionRequest,
    step=st.integers(0, 3),
    intent=st.sampled_from(INTENTS),
    kind=st.sampled_from(ActionKind),
    target=st.builds(
        Target,
        adapter=st.just("litellm:main"),
        kind=st.sampled_from(KINDS),
        id=st.sampled_from(("1", "2")),
        labels=st.sampled_from(((), (("team", "a"),), (("team", "b"), ("tier", "a")))),
    ),
    blast_count=st.integers(1, 3),
    blast_population=st.integers(1, 4),
    undo_captured=st.booleans(),
    verification_declared=st.booleans(),
    protected=st.sampled_from((False, False, False, True)),
    foreign_owner=st.sampled_from((False, False, False, True)),
    seconds_since_last=st.none() | st.floats(0, 1000),
    running_on_target=st.integers(0, 2),
)
inputs = st.builds(
    lambda asked, environment, service, **changes: an_input(
        *asked, scope=Scope(environment=environment, service=service), **changes
    ),
    st.lists(requests, min_size=1, max_size=3),
    st.sampled_from(ENVIRONMENTS),
    st.sampled_from(SERVICES),
    agent=st.sampled_from(AGENTS),
    runbook=st.sampled_from(RUNBOOKS),
    confidence=st.floats(0, 1),
    novel=st.sampled_from((False, False, True)),
    edge_proven=st.sampled_from((True, True, False)),
    signs=st.lists(st.sampled_from(SIGNS), unique=True).map(tuple),
    rates=st.lists(
        st.builds(RateCount, window_s=st.sampled_from(tuple(WINDOWS)), count=count),
        unique_by=lambda rate: rate.window_s,
    ).map(tuple),
    running_fleet=st.integers(0, 2),
    trust_lower_bound=st.none() | st.floats(0, 1),
    conflicts=st.sampled_from(((), (), ("rem_1",))),
    standing=st.none()
    | st.builds(
        AgentStanding,
        ceiling=st.sampled_from(Autonomy),
        promoted=st.none() | st.sampled_from(Autonomy),
        over_budget=st.sampled_from((False, False, True)),
    ),
    verification=st.none()
    | st.builds(VerificationFacts, horizons=st.integers(0, 3), last_s=st.floats(0, 600), guards=st.integers(0, 2)),
    offsets=st.sampled_from(((), (ZoneOffset(zone="UTC", seconds=0), ZoneOffset(zone="Asia/Tokyo", seconds=32_400)))),
    budgets=st.just(())
    | st.builds(
        BudgetReading,
        objective=st.just("served"),
        remaining=st.none() | st.floats(-1, 1),
        burns=st.lists(
            st.builds(Burn, window_s=st.sampled_from((300, 3600)), rate=st.floats(0, 20)),
            unique_by=lambda burn: burn.window_s,
        ).map(tuple),
    ).map(lambda read: (read,)),
    phase=st.none() | st.sampled_from(PHASES),
    at=st.datetimes(datetime(2025, 12, 30), datetime(2026, 1, 9), timezones=st.just(UTC)),
)


def no_easier(new: ApprovalTerms, old: ApprovalTerms) -> bool:
    """The same people, no fewer of them, in no more time, and no more of them than before."""
    return (
        (new.roles, new.escalation) == (old.roles, old.escalation)
        and new.quorum >= old.quorum
        and new.ttl_s <= old.ttl_s
        and new.not_author >= old.not_author
        and new.separate >= old.separate
    )


def no_wider(after: Decision, before: Decision) -> bool:
    """`after` permits nothing that `before` did not."""
    approvals = after.verdict is not Verdict.REQUIRE_APPROVAL or all(
        any(no_easier(new, old) for new in after.approvals) for old in before.approvals
    )
    shorter = before.remedy_ttl_s is None or (
        after.remedy_ttl_s is not None and after.remedy_ttl_s <= before.remedy_ttl_s
    )
    return (
        WIDTH[after.verdict] <= WIDTH[before.verdict]
        and after.autonomy.rank <= before.autonomy.rank
        and approvals
        and (shorter or after.verdict is Verdict.DENY)
    )


@settings(max_examples=300)
@given(documents, limits, inputs)
def test_invariant_6_a_limit_never_widens(
    known: list[PolicyDocument], limit: PolicyDocument, asked: DecisionInput
) -> None:
    known = [document for document in known if document.node != limit.node]
    assert no_wider(decide(a_policy(*known, limit), asked), decide(a_policy(*known), asked))


@settings(max_examples=300)
@given(documents, grants, inputs)
def test_invariant_6_a_grant_widens_only_its_match_and_never_past_the_meet(
    known: list[PolicyDocument], grant: PolicyDocument, asked: DecisionInput
) -> None:
    known = [document for document in known if document.node != grant.node]
    before, after = a_policy(*known), a_policy(*known, grant)
    for request in asked.requests:
        one = asked.model_copy(update={"requests": (request,)})
        (now,), (then,) = after.met(one), before.met(one)
        matched, was_granted = grant.node in now.grants, bool(then.grants)
        old, new = decide(before, one), decide(after, one)
        if not matched:
            assert new == old.model_copy(update={"policy_version": after.version})
        elif was_granted:
            assert no_wider(new, old)
        else:
            assert old.verdict is Verdict.DENY
            only = [document for document in known if document.kind == "Limit"]
            assert no_wider(new, decide(a_policy(*only, grant), one))
            assert no_wider(new, decide(a_policy(grant), one))


@settings(max_examples=200)
@given(documents, inputs, st.randoms(use_true_random=False))
def test_invariant_6_evaluation_is_total_deterministic_and_order_free(
    known: list[PolicyDocument], asked: DecisionInput, rng: random.Random
) -> None:
    decision = decide(a_policy(*known), asked)
    shuffled = rng.sample(known, len(known))
    again = decide(a_policy(*shuffled), DecisionInput.model_validate_json(asked.model_dump_json()))
    assert canonical_model(again) == canonical_model(decision)
    assert Decision.model_validate_json(canonical_model(decision)) == decision
    assert (decision.verdict is Verdict.ALLOW) == (not decision.blocking)


@given(documents, documents, documents)
def test_invariant_6_the_meet_is_idempotent_commutative_and_associative(
    one: list[PolicyDocument], two: list[PolicyDocument], three: list[PolicyDocument]
) -> None:
    a, b, c = (meet(terms_of(document) for document in some) for some in (one, two, three))
    assert meet([a, a]) == a
    assert meet([a, b]) == meet([b, a])
    assert meet([meet([a, b]), c]) == meet([a, meet([b, c])])
    assert meet([a, {}]) == a


@given(documents, inputs, inputs)
def test_another_input_has_another_digest(
    known: list[PolicyDocument], one: DecisionInput, other: DecisionInput
) -> None:
    policy = a_policy(*known)
    same = decide(policy, one).input_digest == decide(policy, other).input_digest
    assert same == (one == other)
    assert decide(policy, one).input_digest == digest_of(one)


def test_an_unknown_value_matches_nothing_that_is_named() -> None:
    policy = a_policy(a_grant(match={"agents": ["remediator/litellm"]}))
    for unknown in ("", "*", "remediator", "remediator/litellm2"):
        assert decide(policy, an_input(a_request(), agent=unknown)).verdict is Verdict.DENY


@given(documents, inputs)
def test_invariant_6_a_phase_that_is_not_known_is_never_wider_than_one_that_is(
    known: list[PolicyDocument], asked: DecisionInput
) -> None:
    """No Grant that names phases follows from it, and it escapes no Limit: each Grant it has, every phase has."""
    known = [each for each in known if not (each.kind == "Grant" and each.spec.match.phases)]
    policy, unknown = a_policy(*known), asked.model_copy(update={"phase": None})
    rules = any("phase" in rule.expression for each in known for rule in each.spec.rules)
    assert rules or all(
        no_wider(decide(policy, unknown), decide(policy, asked.model_copy(update={"phase": phase}))) for phase in Phase
    )
