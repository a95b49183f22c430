"""An approval's terms from documents: how they meet, what is refused when they are read, and old decisions' bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.decisions import a_grant, a_limit, a_policy, an_input

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.decisions import ApprovalTerms, EscalationStep
from watchkeeper.core.errors import PolicyError
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import load
from watchkeeper.policies.model import PolicyDocument

ASK = {"roles": ["approver"], "ttl": "30m"}
CHAIN = [{"after": "20m", "notify": ["pager"]}, {"after": "10m", "roles": ["operator", "operator"]}]


def terms(*documents: PolicyDocument) -> tuple[ApprovalTerms, ...]:
    return decide(a_policy(*documents), an_input()).approvals


def test_the_terms_say_all_that_the_document_says() -> None:
    (one,) = terms(a_grant(approvals=[{**ASK, "notAuthor": True, "separate": True, "escalation": CHAIN}]))
    assert (one.node, one.not_author, one.separate) == ("grant/g", True, True)
    assert one.escalation == (
        EscalationStep(after_s=600, roles=("operator",)),
        EscalationStep(after_s=1200, notify=("pager",)),
    )


def test_the_same_people_are_asked_once_by_the_stricter_of_each() -> None:
    (one,) = terms(
        a_grant(approvals=[{**ASK, "quorum": 2}]),
        a_limit("a", approvals=[{**ASK, "ttl": "5m", "notAuthor": True}]),
        a_limit("b", approvals=[{**ASK, "separate": True}]),
    )
    assert (one.node, one.quorum, one.ttl_s, one.not_author, one.separate) == ("grant/g", 2, 300, True, True)


def test_invariant_6_an_escalation_cannot_widen_who_answers_for_a_document_without_one() -> None:
    plain, more = a_limit("plain", approvals=[ASK]), a_limit("more", approvals=[{**ASK, "escalation": CHAIN}])
    found = terms(a_grant(), plain, more)
    assert {(each.node, bool(each.escalation)) for each in found} == {("limit/plain", False), ("limit/more", True)}


def test_what_a_first_decision_did_not_have_is_not_in_its_bytes() -> None:
    (old,) = terms(a_grant(approvals=[ASK]))
    assert canonical_model(old) == b'{"node":"grant/g","quorum":1,"roles":["approver"],"ttl_s":1800}'
    (new,) = terms(a_grant(approvals=[{**ASK, "notAuthor": True}]))
    assert canonical_model(new) == (
        b'{"node":"grant/g","not_author":true,"quorum":1,"roles":["approver"],"ttl_s":1800}'
    )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("notauthor: true", 'unknown key (did you mean "notAuthor"?)'),
        ("escalation: [{after: 30m, roles: [operator]}]", "due only when the approval's ttl is over"),
        ("escalation: [{after: 1m, roles: [operator]}, {after: 60s}]", "two steps are due at the same time"),
        ("escalation: [{after: 1m, roles: [model]}]", "spec.approvals[0].escalation[0].roles[0]"),
        ("escalation: [{after: 1m, notify: ['a;b']}]", "must match the pattern"),
        ("escalation: [" + ", ".join(f"{{after: {n}m}}" for n in range(1, 7)) + "]", "at most 5 items"),
    ],
)
def test_what_is_wrong_with_an_approval_is_told_with_its_place(tmp_path: Path, more: str, told: str) -> None:
    path = tmp_path / "l.yaml"
    path.write_text(
        "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata: {name: l}\nspec:\n  approvals:\n"
        f"    - roles: [approver]\n      ttl: 30m\n      {more}\n"
    )
    with pytest.raises(PolicyError) as caught:
        load(path)
    assert told in caught.value.diagnostics()
    assert f"{path}:" in caught.value.diagnostics()
