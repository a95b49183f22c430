"""The phase of a rollout as a dimension of `match`: what is not written, what is named, what is not known."""

from __future__ import annotations

import pytest
from tests.testbed.decisions import a_grant, a_limit, a_policy, an_input

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.decisions import DecisionInput, Reason, Verdict
from watchkeeper.core.digest import digest_of
from watchkeeper.core.errors import PolicyError
from watchkeeper.core.phases import Phase
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.difference.compare import Way, difference
from watchkeeper.policies.load import from_texts
from watchkeeper.policies.trials.model import Given
from watchkeeper.policies.trials.run import asked


def verdict(policy: Policy, phase: Phase | None) -> Verdict:
    return decide(policy, an_input(phase=phase)).verdict


def test_phases_follow_one_another() -> None:
    assert [each.following for each in Phase] == [*list(Phase)[1:], None]
    assert [each.preceding for each in Phase] == [None, *list(Phase)[:-1]]


def test_a_grant_counts_in_its_phases_and_in_none_that_is_not_known() -> None:
    policy = a_policy(a_grant(match={"phases": ["pilot", "expanded"]}))
    found = {phase: verdict(policy, phase) for phase in (None, *Phase)}
    allowed = {phase for phase, each in found.items() if each is Verdict.ALLOW}
    assert allowed == {Phase.PILOT, Phase.EXPANDED}
    assert found[None] is Verdict.DENY


def test_a_limit_holds_in_its_phases_and_in_one_that_is_not_known() -> None:
    policy = a_policy(a_grant(), a_limit(match={"phases": ["pilot"]}, autonomy="shadow"))
    held = {phase for phase in (None, *Phase) if verdict(policy, phase) is Verdict.SHADOW}
    assert held == {None, Phase.PILOT}


def test_a_document_that_names_no_phase_keeps_its_digest_and_its_meaning() -> None:
    grant = a_grant()
    assert b"phases" not in grant.body()
    assert {verdict(a_policy(grant), phase) for phase in (None, *Phase)} == {Verdict.ALLOW}


def test_the_order_of_phases_is_no_part_of_a_document() -> None:
    one, two = (a_grant(match={"phases": phases}) for phases in (["pilot", "triage", "pilot"], ["triage", "pilot"]))
    assert one.body() == two.body()


def test_invariant_8_an_input_without_a_phase_has_the_bytes_it_always_had() -> None:
    given = an_input()
    assert b"phase" not in canonical_model(given)
    assert digest_of(given) != digest_of(an_input(phase=Phase.TRIAGE))
    assert DecisionInput.model_validate_json(canonical_model(an_input(phase=Phase.PILOT))).phase is Phase.PILOT


def test_a_phase_that_there_is_not_is_an_error_with_its_place() -> None:
    text = "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata: {name: l}\nspec:\n  match:\n    phases: [pilott]\n"
    with pytest.raises(PolicyError) as caught:
        from_texts({"l.yaml": text})
    assert caught.value.place.startswith("l.yaml:6")


def test_a_rule_may_ask_for_the_phase_and_has_no_answer_where_it_is_not_known() -> None:
    rule = {"name": "late", "expression": "phase == 'agent_first'", "message": "agents first"}
    policy = a_policy(a_grant(rules=[rule]))
    assert verdict(policy, Phase.AGENT_FIRST) is Verdict.ALLOW
    reasons = {
        phase: {each.reason for each in decide(policy, an_input(phase=phase)).blocking} for phase in (None, Phase.PILOT)
    }
    assert reasons == {None: {Reason.RULE_UNKNOWN}, Phase.PILOT: {Reason.RULE_NOT_MET}}


def test_a_difference_is_told_by_phase() -> None:
    before = a_policy(a_grant(match={"phases": ["agent_first"]}))
    after = a_policy(a_grant(match={"phases": ["agent_first", "expanded"]}))
    (changed,) = difference(before, after).changed
    assert changed.way is Way.GROWS
    assert {place.phase for place in changed.places} == {Phase.EXPANDED}
    none = difference(a_policy(a_grant()), a_policy(a_grant(autonomy="propose"))).changed
    assert {place.phase for each in none for place in each.places} == {None}


def test_a_test_gives_the_phase() -> None:
    policy = a_policy(a_grant(match={"environments": ["production"], "phases": ["pilot"]}))
    assert decide(policy, asked(Given(phase=Phase.PILOT), policy)).verdict is Verdict.ALLOW
    assert decide(policy, asked(Given(), policy)).verdict is Verdict.DENY
