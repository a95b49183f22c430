"""What of an approval makes a candidate's answer another one."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.decisions import a_grant, a_policy, an_input

from watchkeeper.policies.decide import decide
from watchkeeper.policies.whatif.compare import change_of
from watchkeeper.policies.whatif.report import Change

ASKS = {"roles": ["approver"], "quorum": 2, "ttl": "30m", "notAuthor": True, "separate": True}
STEP = {"after": "10m", "roles": ["operator"]}


def asking(name: str = "asks", **other: Any) -> Any:
    return decide(a_policy(a_grant(name, approvals=[ASKS | other])), an_input())


@pytest.mark.parametrize(
    "other",
    [{"quorum": 1}, {"ttl": "1h"}, {"notAuthor": False}, {"separate": False}, {"escalation": [STEP]}],
    ids=lambda other: next(iter(other)),
)
def test_an_approval_that_asks_otherwise_has_other_terms(other: dict[str, Any]) -> None:
    assert change_of(asking(), asking(**other)) is Change.TERMS
    assert change_of(asking(**other), asking()) is Change.TERMS


def test_the_name_of_the_document_that_asks_makes_no_difference() -> None:
    assert change_of(asking(), asking("renamed")) is Change.SAME
