"""The gates one by one: what each asks, with which reason it answers, and how far the request may still go."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.decisions import KEY, a_grant, a_limit, a_policy, a_request, an_input

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.decisions import Autonomy, Decision, Gate, RateCount, Reason, Verdict
from watchkeeper.core.findings import Sign
from watchkeeper.core.model import labels
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.decide import decide
from watchkeeper.policies.gates.answers import Case
from watchkeeper.policies.gates.scales import Scale, bars
from watchkeeper.policies.gates.walk import BOUND_BY, GATES, SILENT
from watchkeeper.policies.terms import Term, bits


def blocked(decision: Decision) -> list[tuple[Gate, Reason, str]]:
    return [(result.gate, result.reason, result.node) for result in decision.blocking]


def test_every_gate_is_asked_in_its_order() -> None:
    assert list(GATES) == list(Gate)
    decision = decide(a_policy(a_grant()), an_input())
    assert list(dict.fromkeys(result.gate for result in decision.walk)) == [each for each in Gate if each not in SILENT]
    assert decision.verdict is Verdict.ALLOW
    assert decision.autonomy is Autonomy.BOUNDED
    assert decision.blocking == ()


def test_a_gate_that_is_not_asked_had_nothing_to_say() -> None:
    given = an_input(confidence=0.0, signs=(), running_fleet=1000, requests=(a_request(running_on_target=1000),))
    (met,) = a_policy(a_grant()).met(given)
    assert met.bounded == bits([Term.AUTONOMY])
    case = Case(given, given.requests[0], met, met.autonomy)
    for gate in BOUND_BY:
        assert [question(case) for question in GATES[gate] if callable(question)] == [()]
    for gate, asked in GATES.items():
        for scale in asked:
            assert not isinstance(scale, Scale) or bars(gate, scale, met, (), 0) == []


def test_without_a_matching_grant_all_is_denied() -> None:
    elsewhere = an_input(scope=Scope(environment="prod", service="chat"))
    decision = decide(a_policy(a_grant()), elsewhere)
    assert decision.verdict is Verdict.DENY
    assert blocked(decision) == [(Gate.GRANT, Reason.NO_GRANT, "core")]


def test_a_plan_without_actions_is_denied() -> None:
    decision = decide(a_policy(a_grant()), an_input().model_copy(update={"requests": ()}))
    assert decision.verdict is Verdict.DENY
    assert blocked(decision) == [(Gate.GRANT, Reason.NO_GRANT, "core")]


@pytest.mark.parametrize(
    ("dimension", "value"),
    [
        ("environments", "prod"),
        ("services", "search"),
        ("agents", "remediator/kubernetes"),
        ("runbooks", "cap-token-spend"),
        ("intents", "block"),
        ("targetKinds", "deployment"),
        ("targetLabels", {"team": ["support"]}),
        ("targetLabels", {"tier": ["*"]}),
    ],
)
def test_every_dimension_of_the_match_counts(dimension: str, value: Any) -> None:
    other = a_grant(match={dimension: value if isinstance(value, dict) else [value]})
    assert decide(a_policy(other), an_input()).verdict is Verdict.DENY


@pytest.mark.parametrize(
    ("autonomy", "verdict", "reason"),
    [
        ("none", Verdict.DENY, Reason.FORBIDDEN),
        ("shadow", Verdict.SHADOW, Reason.SHADOW_ONLY),
        ("propose", Verdict.REQUIRE_APPROVAL, Reason.PROPOSE_ONLY),
    ],
)
def test_autonomy_below_bounded(autonomy: str, verdict: Verdict, reason: Reason) -> None:
    decision = decide(a_policy(a_grant(autonomy=autonomy)), an_input())
    assert (decision.verdict, decision.autonomy) == (verdict, Autonomy(autonomy))
    assert blocked(decision) == [(Gate.AUTONOMY, reason, "grant/g")]
    capped = decide(a_policy(a_grant(autonomy="full"), a_limit(autonomy=autonomy)), an_input())
    assert blocked(capped) == [(Gate.AUTONOMY, reason, "limit/l")]


def test_grants_meet_and_never_join() -> None:
    decision = decide(a_policy(a_grant("a", "full"), a_grant("b", "shadow")), an_input())
    assert decision.verdict is Verdict.SHADOW


@pytest.mark.parametrize(
    ("request_changes", "input_changes", "gate", "reason"),
    [
        ({"kind": ActionKind.IRREVERSIBLE}, {}, Gate.KIND, Reason.KIND_NOT_COVERED),
        ({"undo_captured": False}, {}, Gate.UNDO, Reason.NO_UNDO),
        ({"verification_declared": False}, {}, Gate.VERIFICATION, Reason.NO_VERIFICATION),
        ({}, {"edge_proven": False}, Gate.EDGE, Reason.EDGE_NOT_PROVEN),
        ({}, {"novel": True}, Gate.NOVELTY, Reason.NOVEL_CAUSE),
        ({"foreign_owner": True}, {}, Gate.OWNER, Reason.FOREIGN_OWNER),
    ],
)
def test_invariant_5_what_must_not_be_done_alone_is_proposed(
    request_changes: dict[str, Any], input_changes: dict[str, Any], gate: Gate, reason: Reason
) -> None:
    decision = decide(a_policy(a_grant()), an_input(a_request(**request_changes), **input_changes))
    assert decision.verdict is Verdict.REQUIRE_APPROVAL
    assert blocked(decision) == [(gate, reason, "core")]


def test_self_restoring_needs_its_postcondition_instead_of_an_undo() -> None:
    restart = a_request(kind=ActionKind.SELF_RESTORING, intent=Intent.RESTART, undo_captured=False)
    assert decide(a_policy(a_grant()), an_input(restart)).verdict is Verdict.ALLOW
    undeclared = decide(a_policy(a_grant()), an_input(restart.model_copy(update={"verification_declared": False})))
    assert [step.gate for step in undeclared.blocking] == [Gate.UNDO, Gate.VERIFICATION]


def test_full_covers_the_irreversible() -> None:
    gone = a_request(kind=ActionKind.IRREVERSIBLE, intent=Intent.RECLAIM_SPACE, undo_captured=False)
    assert decide(a_policy(a_grant(autonomy="full")), an_input(gone)).verdict is Verdict.ALLOW


def test_no_policy_opens_a_protected_target() -> None:
    decision = decide(a_policy(a_grant(autonomy="full")), an_input(a_request(protected=True)))
    assert decision.verdict is Verdict.DENY
    assert blocked(decision) == [(Gate.PROTECTED, Reason.PROTECTED_TARGET, "core")]


def test_a_conflict_is_denied_and_names_the_remedy() -> None:
    decision = decide(a_policy(a_grant()), an_input(conflicts=("rem_2", "rem_1")))
    assert decision.verdict is Verdict.DENY
    assert blocked(decision) == [(Gate.CONFLICT, Reason.CONFLICT_IN_FORCE, "core")]
    assert decision.blocking[0].observed == "rem_1"


@pytest.mark.parametrize(
    ("caps", "request_changes", "input_changes", "reason", "observed", "limit"),
    [
        ({"maxBlastCount": 1}, {"blast_count": 2}, {}, Reason.BLAST_COUNT_EXCEEDED, 2, 1),
        ({"maxBlastShare": 0.3}, {}, {}, Reason.BLAST_SHARE_EXCEEDED, 1 / 3, 0.3),
        ({"rate": {"count": 3, "per": "1h"}}, {}, {"rates": 3}, Reason.RATE_EXCEEDED, 4, 3),
        ({"cooldown": "10m"}, {"seconds_since_last": 599.0}, {}, Reason.COOLING_DOWN, 599, 600),
        ({"concurrency": {"perTarget": 1}}, {"running_on_target": 1}, {}, Reason.TOO_MANY_RUNNING, 2, 1),
        ({"concurrency": {"fleet": 2}}, {}, {"running_fleet": 2}, Reason.TOO_MANY_RUNNING, 3, 2),
    ],
)
def test_an_exceeded_cap_denies_or_asks_as_its_document_says(
    caps: dict[str, Any],
    request_changes: dict[str, Any],
    input_changes: dict[str, Any],
    reason: Reason,
    observed: float,
    limit: float,
) -> None:
    if "rates" in input_changes:
        input_changes = {"rates": (RateCount(window_s=3600, count=input_changes["rates"]),)}
    given = an_input(a_request(**request_changes), **input_changes)
    for failure_policy, verdict in (("Deny", Verdict.DENY), ("RequireApproval", Verdict.REQUIRE_APPROVAL)):
        decision = decide(a_policy(a_grant(caps=caps, failurePolicy=failure_policy)), given)
        assert decision.verdict is verdict
        (failure,) = decision.blocking
        assert (failure.reason, failure.observed, failure.limit) == (reason, observed, limit)
    assert decide(a_policy(a_grant(caps=caps)), an_input()).verdict is (
        Verdict.DENY if reason is Reason.BLAST_SHARE_EXCEEDED else Verdict.ALLOW
    )


def test_a_milder_document_does_not_soften_a_stricter_one() -> None:
    strict = a_limit("strict", caps={"maxBlastCount": 1})
    mild = a_limit("mild", caps={"maxBlastCount": 1}, failurePolicy="RequireApproval")
    decision = decide(a_policy(a_grant(), strict, mild), an_input(a_request(blast_count=2)))
    assert decision.verdict is Verdict.DENY


def test_many_small_steps_are_one_blast_radius() -> None:
    second = a_request(step=1, target=KEY.model_copy(update={"id": "k2"}))
    same = a_request(step=1, intent=Intent.SET_BUDGET)
    policy = a_policy(a_grant(caps={"maxBlastCount": 1}))
    assert decide(policy, an_input(a_request(), second)).verdict is Verdict.DENY
    assert decide(policy, an_input(a_request(), same)).verdict is Verdict.ALLOW


def test_what_is_not_known_is_not_allowed() -> None:
    rated = a_policy(a_grant(caps={"rate": {"count": 100, "per": "30m"}}))
    assert rated.rate_windows == (1800,)
    assert blocked(decide(rated, an_input())) == [(Gate.RATE, Reason.RATE_EXCEEDED, "grant/g")]


def test_a_limit_is_not_escaped_by_a_missing_label() -> None:
    policy = a_policy(a_grant(), a_limit(match={"targetLabels": {"tier": ["critical"]}}, autonomy="propose"))
    assert decide(policy, an_input()).verdict is Verdict.REQUIRE_APPROVAL
    known = a_request(target=KEY.model_copy(update={"labels": labels(tier="free")}))
    assert decide(policy, an_input(known)).verdict is Verdict.ALLOW


@pytest.mark.parametrize(("bound", "allowed"), [(None, False), (0.8, False), (0.85, True)])
def test_a_trust_floor_that_is_not_reached_leaves_the_proposal(bound: float | None, allowed: bool) -> None:
    decision = decide(a_policy(a_grant(), a_limit(trustFloor=0.85)), an_input(trust_lower_bound=bound))
    assert decision.verdict is (Verdict.ALLOW if allowed else Verdict.REQUIRE_APPROVAL)
    if not allowed:
        assert blocked(decision) == [(Gate.TRUST, Reason.TRUST_TOO_LOW, "limit/l")]


def test_confidence_takes_the_highest_floor() -> None:
    policy = a_policy(a_grant(minConfidence=0.5), a_limit(minConfidence=0.95))
    decision = decide(policy, an_input())
    assert decision.verdict is Verdict.REQUIRE_APPROVAL
    assert blocked(decision) == [(Gate.CONFIDENCE, Reason.CONFIDENCE_TOO_LOW, "limit/l")]


def test_required_evidence_is_required_by_name() -> None:
    policy = a_policy(a_grant(requiredEvidence=["cycle", "depth"]))
    decision = decide(policy, an_input())
    assert decision.verdict is Verdict.DENY
    assert decision.blocking[0].limit == "depth"
    assert decide(policy, an_input(signs=(Sign.DEPTH, Sign.CYCLE))).verdict is Verdict.ALLOW


def test_every_approval_is_required_and_the_same_roles_are_asked_once() -> None:
    policy = a_policy(
        a_grant(approvals=[{"roles": ["operator", "approver"], "ttl": "30m"}]),
        a_limit("two", approvals=[{"roles": ["approver", "operator"], "quorum": 2, "ttl": "1h"}]),
        a_limit("admin", approvals=[{"roles": ["admin"], "ttl": "10m"}]),
    )
    decision = decide(policy, an_input())
    assert decision.verdict is Verdict.REQUIRE_APPROVAL
    assert [(terms.node, terms.roles, terms.quorum, terms.ttl_s) for terms in decision.approvals] == [
        ("limit/admin", ("admin",), 1, 600),
        ("limit/two", ("approver", "operator"), 2, 1800),
    ]


def test_the_shortest_ttl_stands_for_the_remedy() -> None:
    policy = a_policy(a_grant(caps={"ttl": "2h"}), a_limit(caps={"ttl": "30m"}))
    assert decide(policy, an_input()).remedy_ttl_s == 1800
    assert decide(a_policy(a_grant()), an_input()).remedy_ttl_s is None


def test_a_plan_gets_the_narrowest_verdict_of_its_steps() -> None:
    policy = a_policy(
        a_grant("t", match={"intents": ["throttle"]}), a_grant("b", "propose", match={"intents": ["set_budget"]})
    )
    both = an_input(a_request(), a_request(step=1, intent=Intent.SET_BUDGET))
    decision = decide(policy, both)
    assert (decision.verdict, decision.autonomy) == (Verdict.REQUIRE_APPROVAL, Autonomy.PROPOSE)
    assert [(result.step, result.reason) for result in decision.blocking] == [(1, Reason.PROPOSE_ONLY)]
    with_block = an_input(a_request(), a_request(step=1, intent=Intent.BLOCK))
    assert decide(policy, with_block).verdict is Verdict.DENY


def test_the_walk_stays_short_under_many_documents() -> None:
    policy = a_policy(a_grant(), *(a_limit(f"l{n}", caps={"maxBlastCount": 5}) for n in range(500)))
    limits = [result for result in decide(policy, an_input()).walk if result.gate is Gate.LIMIT]
    assert len(limits) == 17
    assert limits[-1].observed == 500


def test_a_target_that_was_never_touched_has_no_cool_down_whoever_sets_one() -> None:
    asking = a_limit("asking", caps={"cooldown": "5m"}, failurePolicy="RequireApproval")
    policy = a_policy(a_grant(), a_limit("denying", caps={"cooldown": "1m"}), asking)
    never = decide(policy, an_input(requests=(a_request(seconds_since_last=None),)))
    assert [result.node for result in never.walk if result.gate is Gate.COOLDOWN] == ["core"]
    lately = decide(policy, an_input(requests=(a_request(seconds_since_last=90),)))
    assert blocked(lately) == [(Gate.COOLDOWN, Reason.COOLING_DOWN, "limit/asking")]
    assert lately.verdict is Verdict.REQUIRE_APPROVAL
