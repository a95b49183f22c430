"""The shipped runbooks against diagnoses: which fit, and what they propose, to the last number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.diagnosis import Cause, Diagnosis
from watchkeeper.core.findings import FailureMode, Finding, Severity, Sign
from watchkeeper.core.ids import DiagnosisId, FindingId, IncidentId
from watchkeeper.core.model import labels
from watchkeeper.core.sli import Comparison, Measure, SubjectSet
from watchkeeper.core.subjects import Edge, EdgeSource, Scope, Subject, SubjectKind
from watchkeeper.runbooks.facts import BaselineFact, DeploymentFact, GroupFact, KeyFact, ResolveFacts
from watchkeeper.runbooks.loader import Catalog, load_catalog
from watchkeeper.runbooks.resolve import NotApplicable, Proposal, candidates, resolve

AT = datetime(2026, 1, 1, tzinfo=UTC)
KEY, AGENT = Subject(kind=SubjectKind.KEY, id="k1"), Subject(kind=SubjectKind.AGENT, id="research-agent")
GROUP, DEP_A = Subject(kind=SubjectKind.MODEL, id="chat"), Subject(kind=SubjectKind.DEPLOYMENT, id="a")
PROVIDER = Subject(kind=SubjectKind.PROVIDER, id="acme")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def a_cause(mode: FailureMode, subject: Subject, **changes: Any) -> Cause:
    cause = Cause(mode=mode, subject=subject, confidence=0.9, signs=(Sign.CYCLE,), findings=(FindingId("fnd_1"),))
    return cause.model_copy(update=changes)


def a_diagnosis(*causes: Cause) -> Diagnosis:
    return Diagnosis(
        id=DiagnosisId("dgn_1"),
        incident=IncidentId("inc_1"),
        diagnoser="diagnoser/gateway",
        at=AT,
        causes=causes,
        novel=False,
        state_digest="sha256:0",
        code_digest="sha256:1",
    )


def a_finding(*edges: Edge, identity: str = "fnd_1") -> Finding:
    return Finding(
        id=FindingId(identity),
        detector="detector/loop",
        mode=FailureMode.RUNAWAY_LOOP,
        subject=AGENT,
        scope=Scope(environment="demo", service="chat"),
        severity=Severity.CRITICAL,
        onset=AT,
        detected=AT,
        observations=(),
        edges=edges,
        state_digest="sha256:0",
        code_digest="sha256:1",
    )


def an_edge(source: Subject, target: Subject, known_from: EdgeSource = EdgeSource.CALL_ID) -> Edge:
    return Edge(source=source, target=target, known_from=known_from)


def some_facts(**changes: Any) -> ResolveFacts:
    facts = ResolveFacts(
        adapter="litellm:main",
        baselines=(
            BaselineFact(subject=KEY, measure=Measure.CALLS_PER_MIN, expected=101.0),
            BaselineFact(subject=KEY, measure=Measure.TOKENS_PER_MIN, expected=30_000.0),
            BaselineFact(subject=KEY, measure=Measure.COST_USD_PER_MIN, expected=0.25),
        ),
        keys=(KeyFact(id="k1", spend_usd=12.5, labels=labels(team="research")),),
        deployments=(
            DeploymentFact(id="a", group="chat", provider="acme", weight=1.0, healthy=False),
            DeploymentFact(id="b", group="chat", provider="bolt", weight=0.0),
        ),
        groups=(GroupFact(name="chat", candidates=("chat-small",), fallbacks=("chat-old",)),),
    )
    return facts.model_copy(update=changes)


def propose(catalog: Catalog, cause: Cause, facts: ResolveFacts, *findings: Finding) -> Proposal | NotApplicable:
    diagnosis = a_diagnosis(cause)
    (runbook,) = candidates(catalog, diagnosis)
    return resolve(runbook, diagnosis, findings, facts)


def steps(proposal: Proposal | NotApplicable) -> list[tuple[int, Intent, str, dict[str, Any]]]:
    assert isinstance(proposal, Proposal), proposal
    return [(a.step, a.intent, str(a.target), dict(a.parameters)) for a in proposal.actions]


def test_throttle_holds_the_key_near_its_baseline(catalog: Catalog) -> None:
    proposal = propose(catalog, a_cause(FailureMode.RUNAWAY_LOOP, KEY), some_facts())
    assert steps(proposal) == [
        (0, Intent.THROTTLE, "litellm:main/key/k1", {"rpm_limit": 122, "tpm_limit": 45_000}),
    ]
    assert isinstance(proposal, Proposal)
    assert proposal.actions[0].kind is ActionKind.REVERSIBLE
    assert proposal.actions[0].target.labels == (("team", "research"),)
    sli = proposal.verification.sli
    assert (sli.measure, sli.subject, sli.op) == (Measure.SERVED_PER_MIN, KEY, Comparison.AT_MOST)
    assert sli.threshold == 152
    assert proposal.breach.threshold == pytest.approx(131.3)
    assert proposal.breach.model_copy(update={"threshold": sli.threshold}) == sli
    (guard,) = proposal.verification.guards
    assert (guard.measure, guard.over, guard.threshold) == (Measure.SUCCESS_RATIO, SubjectSet.OTHERS, 0.95)
    assert proposal.verification.horizons_s == (90.0, 180.0)
    assert proposal.release is not None
    assert (proposal.release.hold_s, proposal.release.steps) == (600.0, (0.5, 1.0))
    assert proposal.remedy_ttl_s == 7200.0


def test_an_optional_parameter_without_its_fact_is_left_out(catalog: Catalog) -> None:
    only_calls = some_facts(baselines=some_facts().baselines[:1])
    proposal = propose(catalog, a_cause(FailureMode.RUNAWAY_LOOP, KEY), only_calls)
    assert steps(proposal) == [(0, Intent.THROTTLE, "litellm:main/key/k1", {"rpm_limit": 122})]


def test_the_key_is_found_over_edges_and_the_proven_way_is_taken(catalog: Catalog) -> None:
    proven = an_edge(AGENT, KEY)
    guessed = an_edge(AGENT, Subject(kind=SubjectKind.KEY, id="other"), EdgeSource.INFERRED)
    cause = a_cause(FailureMode.RUNAWAY_LOOP, AGENT)
    proposal = propose(catalog, cause, some_facts(), a_finding(guessed, proven))
    assert isinstance(proposal, Proposal)
    assert proposal.actions[0].target.id == "k1"
    assert proposal.edges == (proven,)
    only_guessed = propose(catalog, cause, some_facts(), a_finding(an_edge(AGENT, KEY, EdgeSource.INFERRED)))
    assert isinstance(only_guessed, Proposal)
    assert not only_guessed.edges[0].known_from.proves


def test_a_run_leads_to_its_key_by_its_agent(catalog: Catalog) -> None:
    run = Subject(kind=SubjectKind.RUN, id="r1")
    way = (an_edge(run, AGENT, EdgeSource.SPAN), an_edge(AGENT, KEY))
    proposal = propose(catalog, a_cause(FailureMode.RUNAWAY_LOOP, run, path=way[:1]), some_facts(), a_finding(way[1]))
    assert isinstance(proposal, Proposal)
    assert proposal.edges == way


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ((), "no_key_leads_to_cause"),
        (
            (an_edge(AGENT, KEY), an_edge(AGENT, Subject(kind=SubjectKind.KEY, id="k2"))),
            "several_keys_lead_to_cause",
        ),
        ((an_edge(AGENT, GROUP), an_edge(KEY, GROUP)), "no_key_leads_to_cause"),
    ],
)
def test_invariant_7_a_target_that_is_not_certain_is_not_chosen(
    catalog: Catalog, edges: tuple[Edge, ...], reason: str
) -> None:
    found = propose(catalog, a_cause(FailureMode.RUNAWAY_LOOP, AGENT), some_facts(), a_finding(*edges))
    assert found == NotApplicable(runbook="throttle-runaway-caller", reason=reason)


def test_edges_of_other_findings_do_not_count(catalog: Catalog) -> None:
    other = a_finding(an_edge(AGENT, KEY), identity="fnd_2")
    found = propose(catalog, a_cause(FailureMode.RUNAWAY_LOOP, AGENT), some_facts(), other)
    assert isinstance(found, NotApplicable)


def test_cap_limits_the_rate_and_sets_a_budget_above_what_was_spent(catalog: Catalog) -> None:
    proposal = propose(catalog, a_cause(FailureMode.COST_SPIKE, KEY), some_facts())
    assert steps(proposal) == [
        (0, Intent.THROTTLE, "litellm:main/key/k1", {"tpm_limit": 45_000}),
        (1, Intent.SET_BUDGET, "litellm:main/key/k1", {"max_budget": 72.5}),
    ]
    assert isinstance(proposal, Proposal)
    assert proposal.verification.sli.threshold == 0.5
    no_spend = propose(catalog, a_cause(FailureMode.COST_SPIKE, KEY), some_facts(keys=()))
    assert [step[1] for step in steps(no_spend)] == [Intent.THROTTLE]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        (FailureMode.RUNAWAY_LOOP, "no_baseline_calls_per_min"),
        (FailureMode.COST_SPIKE, "no_baseline_tokens_per_min"),
    ],
)
def test_without_a_baseline_nothing_is_guessed(catalog: Catalog, mode: FailureMode, reason: str) -> None:
    found = propose(catalog, a_cause(mode, KEY), some_facts(baselines=()))
    assert isinstance(found, NotApplicable)
    assert found.reason == reason


def test_fail_over_raises_the_idle_standby_before_it_drains_the_cause(catalog: Catalog) -> None:
    proposal = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), some_facts())
    assert steps(proposal) == [
        (0, Intent.SHIFT_TRAFFIC, "litellm:main/deployment/b", {"weight": 1.0}),
        (1, Intent.SHIFT_TRAFFIC, "litellm:main/deployment/a", {"weight": 0.0}),
    ]
    assert isinstance(proposal, Proposal)
    assert proposal.verification.sli.subject == GROUP
    assert (proposal.breach.measure, proposal.breach.subject) == (Measure.PROVIDER_ERROR_RATIO, DEP_A)


def test_a_standby_that_carries_traffic_is_left_as_it_is(catalog: Catalog) -> None:
    both = (
        DeploymentFact(id="a", group="chat", weight=2.0, healthy=False),
        DeploymentFact(id="b", group="chat", weight=1.0),
    )
    proposal = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), some_facts(deployments=both))
    assert steps(proposal) == [(0, Intent.SHIFT_TRAFFIC, "litellm:main/deployment/a", {"weight": 0.0})]


def test_deployments_without_weights_get_one_before_the_cause_gets_none(catalog: Catalog) -> None:
    unweighted = tuple(DeploymentFact(id=name, group="chat") for name in "abc")
    proposal = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), some_facts(deployments=unweighted))
    assert [(step[2][-1], step[3]["weight"]) for step in steps(proposal)] == [("b", 1.0), ("c", 1.0), ("a", 0.0)]


@pytest.mark.parametrize(
    "deployments",
    [
        (DeploymentFact(id="a", group="chat", weight=1.0),),
        (DeploymentFact(id="a", group="chat"), DeploymentFact(id="b", group="chat", healthy=False)),
        (DeploymentFact(id="a", group="chat", manageable=False), DeploymentFact(id="b", group="chat", weight=1.0)),
        (DeploymentFact(id="a", group="chat"), DeploymentFact(id="b", group="chat", weight=0, manageable=False)),
        (DeploymentFact(id="a", group="chat"), DeploymentFact(id="b", group="other")),
    ],
)
def test_without_a_usable_sibling_the_declared_group_stands_in(
    catalog: Catalog, deployments: tuple[DeploymentFact, ...]
) -> None:
    facts = some_facts(deployments=deployments)
    proposal = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), facts)
    expected = {"fallbacks": "chat-small,chat-old"}
    assert steps(proposal) == [(0, Intent.SET_FALLBACK, "litellm:main/model_group/chat", expected)]


@pytest.mark.parametrize("fixed", ["a", "b"])
def test_where_nothing_stands_in_a_drain_of_what_is_not_manageable_is_left_to_the_target_to_refuse(
    catalog: Catalog, fixed: str
) -> None:
    facts = some_facts(
        deployments=(
            DeploymentFact(id="a", group="chat", weight=1, manageable=fixed != "a"),
            DeploymentFact(id="b", group="chat", weight=0, manageable=fixed != "b"),
        ),
        groups=(GroupFact(name="chat"),),
    )
    proposal = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), facts)
    assert [(step[2][-1], step[3]["weight"]) for step in steps(proposal)] == [("b", 1.0), ("a", 0.0)]


def test_a_group_that_is_down_itself_does_not_stand_in(catalog: Catalog) -> None:
    facts = some_facts(
        deployments=(
            DeploymentFact(id="a", group="chat", healthy=False),
            DeploymentFact(id="s", group="chat-small", healthy=False),
        )
    )
    found = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), facts)
    assert found == NotApplicable(runbook="fail-over-provider", reason="no_fallback_declared")


def test_a_provider_is_drained_in_every_group_and_every_group_is_verified(catalog: Catalog) -> None:
    facts = some_facts(
        deployments=(
            DeploymentFact(id="a1", group="chat", provider="acme", weight=1),
            DeploymentFact(id="b1", group="chat", provider="bolt", weight=1),
            DeploymentFact(id="a2", group="code", provider="acme", weight=1),
            DeploymentFact(id="b2", group="code", provider="bolt", weight=1),
        )
    )
    proposal = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, PROVIDER), facts)
    assert [step[2] for step in steps(proposal)] == ["litellm:main/deployment/a1", "litellm:main/deployment/a2"]
    assert isinstance(proposal, Proposal)
    read = (proposal.verification.sli, *proposal.verification.guards)
    assert sorted((sli.subject.id, str(sli.measure)) for sli in read) == [
        ("chat", "served_per_min"),
        ("chat", "success_ratio"),
        ("code", "served_per_min"),
        ("code", "success_ratio"),
    ]


def test_an_unknown_deployment_is_not_acted_on(catalog: Catalog) -> None:
    found = propose(catalog, a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), some_facts(deployments=()))
    assert found == NotApplicable(runbook="fail-over-provider", reason="no_deployment_known_for_cause")


def test_candidates_follow_the_rank_of_the_causes(catalog: Catalog) -> None:
    outage, spike = a_cause(FailureMode.PROVIDER_OUTAGE, DEP_A), a_cause(FailureMode.COST_SPIKE, KEY)
    assert [r.name for r in candidates(catalog, a_diagnosis(outage, spike))] == [
        "fail-over-provider",
        "cap-token-spend",
    ]
    assert [r.name for r in candidates(catalog, a_diagnosis(spike, outage))] == [
        "cap-token-spend",
        "fail-over-provider",
    ]
    unsure = a_cause(FailureMode.COST_SPIKE, KEY, confidence=0.4)
    assert candidates(catalog, a_diagnosis(unsure)) == ()
    assert candidates(catalog, a_diagnosis(a_cause(FailureMode.COST_SPIKE, PROVIDER))) == ()
    runbook = catalog.get("fail-over-provider")
    assert resolve(runbook, a_diagnosis(spike), (), some_facts()) == NotApplicable(
        runbook="fail-over-provider", reason="no_fitting_cause"
    )


weights = st.none() | st.floats(0, 10)
deployments = st.lists(
    st.builds(
        DeploymentFact,
        id=st.sampled_from("abcd"),
        group=st.sampled_from(("chat", "code")),
        provider=st.sampled_from(("acme", "bolt")),
        weight=weights,
        healthy=st.booleans(),
        manageable=st.booleans(),
    ),
    max_size=4,
    unique_by=lambda each: each.id,
)
causes = st.builds(
    a_cause,
    st.sampled_from((FailureMode.PROVIDER_OUTAGE, FailureMode.RUNAWAY_LOOP, FailureMode.COST_SPIKE)),
    st.sampled_from((KEY, AGENT, DEP_A, PROVIDER, GROUP)),
)


@given(causes, deployments, st.booleans(), st.floats(0, 1e9))
def test_invariant_7_resolving_is_total_and_names_only_what_the_facts_name(
    cause: Cause, known: list[DeploymentFact], linked: bool, baseline: float
) -> None:
    catalog = load_catalog()
    facts = some_facts(
        deployments=tuple(known),
        baselines=tuple(BaselineFact(subject=KEY, measure=measure, expected=baseline) for measure in Measure),
    )
    finding = a_finding(*([an_edge(AGENT, KEY)] if linked else []))
    diagnosis = a_diagnosis(cause)
    for runbook in candidates(catalog, diagnosis):
        found = resolve(runbook, diagnosis, (finding,), facts)
        assert found == resolve(runbook, diagnosis, (finding,), facts)
        if isinstance(found, NotApplicable):
            continue
        assert canonical_model(found)
        # Of what is not manageable only the target can say what is in the way; a declared group stands in before that.
        inventory = {each.id for each in known if each.manageable or each.group == "code"} | {"k1", "chat", "code"}
        assert {action.target.id for action in found.actions} <= inventory
        drained = [a.target.id for a in found.actions if dict(a.parameters).get("weight") == 0]
        raised = {a.target.id for a in found.actions if (dict(a.parameters).get("weight") or 0)}
        for name in drained:
            group = next(each.group for each in known if each.id == name)
            others = [each for each in known if each.group == group and each.id not in drained and each.healthy]
            assert sum(each.weight or 0 for each in others) > 0 or {each.id for each in others} & raised
