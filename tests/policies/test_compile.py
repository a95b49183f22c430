"""What is in a policy's name (its version), and what is not."""

from __future__ import annotations

import pytest
from tests.testbed.decisions import a_grant, a_limit, a_policy, an_input

from watchkeeper.core.decisions import Verdict
from watchkeeper.core.digest import sha256
from watchkeeper.core.errors import PolicyError
from watchkeeper.policies import load
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import PolicySet
from watchkeeper.policies.model import KINDS

GRANT = """
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: g}
spec:
  match:
    environments: [demo, prod]
    services: ["*"]
    agents: [a, b]
    runbooks: ["*"]
    intents: [throttle, block]
    targetKinds: ["*"]
  autonomy: bounded
  caps: {ttl: 1h}
  approvals:
    - {roles: [approver, operator], ttl: 10m}
    - {roles: [admin], ttl: 10m}
"""
SAME = """
kind: Grant
apiVersion: watchkeeper.dev/v1
metadata: {name: g, description: ""}
spec:
  approvals:
    - {ttl: 600s, roles: [admin], quorum: 1}
    - {ttl: 600s, roles: [operator, approver, operator]}
  failurePolicy: Deny
  autonomy: bounded
  caps: {ttl: 60m, maxBlastCount: null}
  match:
    targetKinds: ["*"]
    environments: [prod, demo, demo]
    intents: [block, throttle]
    agents: [b, a]
    runbooks: ["*"]
    services: ["*"]
"""
LIMIT = """
apiVersion: watchkeeper.dev/v1
kind: Limit
metadata: {name: l}
spec:
  caps: {maxBlastCount: 1}
"""
GOLDEN = "sha256:6d6c09bbb19af28686b9bc0894ab635994ac130409a8250d0e009b5ded534a6b"


def version(*texts: str) -> str:
    documents = tuple(document for text in texts for document, _ in load.parse(text, "t.yaml"))
    return compile_policy(PolicySet(documents)).version


def test_the_version_is_stable_and_free_of_order_and_spelling() -> None:
    """The golden digest must never change: ledger entries name it for ever."""
    assert version(GRANT, LIMIT) == GOLDEN
    assert version(LIMIT, SAME) == GOLDEN


@pytest.mark.parametrize(
    ("old", "new"),
    [("bounded", "full"), ("1h", "2h"), ("[demo, prod]", "[demo]"), ("name: g", "name: h"), ("10m}", "11m}")],
)
def test_every_change_of_meaning_is_another_version(old: str, new: str) -> None:
    assert version(GRANT.replace(old, new), LIMIT) != GOLDEN


def test_a_document_is_read_back_from_its_canonical_body() -> None:
    for document, _ in load.parse(GRANT + "---" + LIMIT, "t.yaml"):
        again = KINDS[document.kind].model_validate_json(document.body())
        assert again == document
        assert sha256(again.body()) == sha256(document.body())


def test_two_documents_of_one_name_are_refused_with_a_place() -> None:
    (first, _), (second, place) = load.parse(LIMIT + "---" + LIMIT, "t.yaml")
    with pytest.raises(PolicyError, match="two documents are named limit/l") as caught:
        compile_policy(PolicySet((first, second), {second.node: place}))
    assert caught.value.place == "t.yaml:10"
    assert a_policy(a_grant("same"), a_limit("same")).version


def test_no_document_at_all_denies() -> None:
    assert decide(compile_policy(PolicySet(())), an_input()).verdict is Verdict.DENY


def test_matching_finds_the_few_among_many() -> None:
    policy = a_policy(
        *(a_grant(f"g{n}", match={"services": [f"s{n}", "chat"] if n % 100 == 0 else [f"s{n}"]}) for n in range(1000))
    )
    (met,) = policy.met(an_input())
    assert list(met.grants) == sorted(f"grant/g{n}" for n in range(0, 1000, 100))
