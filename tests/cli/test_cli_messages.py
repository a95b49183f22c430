"""What rules tell people, as lines: of an approval, of an incident, of its story."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console
from tests.api.test_api_messages import OLGA, RULES
from tests.testbed.decisions import a_grant, a_limit
from tests.testbed.faces import opened

from watchkeeper.cli import story
from watchkeeper.cli.approvals import show_approval
from watchkeeper.cli.incidents import messages_of
from watchkeeper.cli.rulemessages import told_messages
from watchkeeper.core.principals import Role
from watchkeeper.policies.load import PolicySet

SURE = "policy says: be sure of the cause (limit/l, rule sure, rule_not_met)"


async def test_a_person_reads_what_the_rules_say_before_and_after(tmp_path: Path) -> None:
    async with opened(tmp_path) as face, face.client(Role.VIEWER) as viewer:
        grant = a_grant(match={"environments": ["*"]})
        await face.services.versions.activate(PolicySet((grant, a_limit(rules=RULES))), OLGA)
        approval: dict[str, Any] = (await viewer.get(f"/v1/approvals/{await face.waiting()}")).json()
        steps = (await viewer.get(f"/v1/incidents/{approval['incident']}/story")).json()
    shown = io.StringIO()
    show_approval(approval, into=Console(file=shown, width=80))
    assert f"  {SURE}" in shown.getvalue().splitlines()
    assert "few are touched (limit/l, rule few, warned)" in " ".join(shown.getvalue().split())
    assert "for the books" not in shown.getvalue()
    assert SURE in " ".join(" ".join(line.text for line in story.lines(steps, evidence=False)).split())
    assert SURE in list(told_messages(messages_of(steps)))


def test_a_message_that_is_not_kept_leaves_its_rule() -> None:
    message = {"node": "limit/l", "rule": "r", "reason": "warned", "message": None}
    assert list(told_messages([message])) == ["policy says: its message is not kept (limit/l, rule r, warned)"]
    assert messages_of([]) == []
