"""What the authors of rules tell people, wherever a decision is shown: from the policy that was asked, never from the
ledger."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from tests.testbed.decisions import a_grant, a_limit
from tests.testbed.entries import a_decision
from tests.testbed.faces import Face
from tests.testbed.stores import tampering

from watchkeeper.core.decisions import Gate, Reason
from watchkeeper.core.ids import ApprovalId
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.policies.load import PolicySet, pack
from watchkeeper.policies.messages import Messages
from watchkeeper.policies.tables import policy_document

OLGA = Principal(id="olga", kind=PrincipalKind.PERSON, roles=(Role.OPERATOR,), authenticated_by="token")
RULES = [
    {"name": "sure", "expression": "confidence > 1.0", "message": "be sure of the cause", "action": "RequireApproval"},
    {"name": "unknown", "expression": "targetLabels['none'] == 'x'", "message": "label it", "action": "Warn"},
    {"name": "few", "expression": "blastCount > 99", "message": "few are touched", "action": "Warn"},
    {"name": "book", "expression": "novel", "message": "for the books", "action": "Audit"},
    {"name": "met", "expression": "blastCount > 0", "message": "never told"},
]
TOLD = [
    ("limit/l", "few", "warned", "few are touched"),
    ("limit/l", "sure", "rule_not_met", "be sure of the cause"),
    ("limit/l", "unknown", "warned", "label it"),
]


def told(messages: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return sorted((each["node"], each["rule"], each["reason"], each["message"]) for each in messages)


@pytest.fixture
async def asked(face: Face) -> ApprovalId:
    """A plan that waits under a policy with rules; then another policy is in force."""
    grant = a_grant(match={"environments": ["*"]})
    await face.services.versions.activate(PolicySet((grant, a_limit(rules=RULES))), OLGA)
    approval = await face.waiting()
    await face.services.versions.activate(pack("demo"), OLGA)
    return approval


async def test_an_approval_tells_the_messages_of_the_policy_that_was_asked(face: Face, asked: ApprovalId) -> None:
    async with face.client(Role.VIEWER) as viewer:
        one = (await viewer.get(f"/v1/approvals/{asked}")).json()
        (listed,) = (await viewer.get("/v1/approvals")).json()
    assert told(one["messages"]) == told(listed["messages"]) == TOLD


async def test_the_story_tells_them_beside_the_decision_and_the_ledger_holds_none(
    face: Face, asked: ApprovalId
) -> None:
    incident = (await face.services.approvals.get(asked)).request.incident
    async with face.client(Role.VIEWER) as viewer:
        steps = (await viewer.get(f"/v1/incidents/{incident}/story")).json()
    with_messages = [step for step in steps if step["messages"]]
    assert [step["part"] for step in with_messages] == ["decided"]
    assert told(with_messages[0]["messages"]) == TOLD
    entries = await face.log.reader.by_subject(incident)
    assert entries
    assert not any(message in entry.envelope.model_dump_json() for entry in entries for *_, message in TOLD)


async def test_a_policy_that_is_not_kept_as_it_was_leaves_the_rules_by_name(face: Face, asked: ApprovalId) -> None:
    async with tampering(face.services.store) as tx:
        await tx.execute(update(policy_document).values(body=b"{}"))
    async with face.client(Role.VIEWER) as viewer:
        one = (await viewer.get(f"/v1/approvals/{asked}")).json()
    assert told(one["messages"]) == sorted((node, rule, reason, None) for node, rule, reason, _ in TOLD)


async def test_a_decision_without_rules_loads_no_policy(face: Face) -> None:
    decision = a_decision().decision.model_copy(update={"policy_version": "sha256:gone"})
    assert not any(each.gate is Gate.RULE and each.reason is not Reason.PASSED for each in decision.walk)
    assert await Messages(face.services.versions).of(decision) == ()
