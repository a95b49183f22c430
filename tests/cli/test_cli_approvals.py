"""approvals, approve and stop as a person types them: several at once, edits, exit codes for scripts."""

from __future__ import annotations

import pytest
from tests.testbed.faces import Served

from .conftest import Cli


def test_what_waits_is_listed_and_shown(cli: Cli, served: Served) -> None:
    for said in (cli("approvals"), cli("approvals", "show", served.approval)):
        assert said.code == 0
        assert max(map(len, said.out.splitlines())) <= 80
        for part in (served.approval, "rpm_limit: unset → 30", "touches 1 of 12", "it takes 1 of approver"):
            assert part in said.out, said.out
    assert cli("approvals", "--json").json[0]["id"] == served.approval
    assert cli("approvals", "show", served.approval, "--json").json["state"] == "pending"
    assert cli("approvals", "show", "apr_none").code == 4


def test_an_edit_makes_another_plan_and_the_old_approval_never_applies(cli: Cli, served: Served) -> None:
    made = cli("approvals", "edit", served.approval, "--set", "0.rpm_limit=40", "-m", "a batch")
    assert made.code == 0, made.err
    assert "is superseded by plan pln_" in made.out
    assert "edited by root" in made.out
    late = cli("approve", served.approval, "--yes")
    assert (late.code, "already superseded" in late.err) == (5, True)
    assert cli("approvals", "edit", served.approval, "--set", "0.rpm_limit=50").code == 5
    assert "Nothing waits" in cli("approvals").out
    old = cli("approvals", "show", served.approval).out
    assert f"superseded: approval {served.approval}" in old
    assert "waits for approval" not in old
    assert f"watchkeeper approve {served.approval}" not in old, "nobody is sent to what cannot be answered"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("0.rpm_limit=0", "the runbook's bounds here are at least 1"),
        ("0.rpmlimit=40", 'did you mean "rpm_limit"?'),
        ("rpm_limit=40", "--set 0.rpm_limit=60"),
        ("0.rpm_limit", "--set 0.rpm_limit=60"),
        ("0.rpm_limit=[1]", "a value is a number, a flag or a text"),
        ("0.rpm_limit=many", "a number is needed"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_with_the_reason(cli: Cli, served: Served, given: str, told: str) -> None:
    said = cli("approvals", "edit", served.approval, "--set", given)
    assert said.code == 2
    assert told in " ".join(said.err.split())
    assert cli("approvals", "show", served.approval, "--json").json["state"] == "pending"


def test_several_are_answered_at_once_and_the_first_that_does_not_count_gives_the_code(
    cli: Cli, served: Served
) -> None:
    assert cli("approve", served.approval, "apr_none", "--yes").code == 4, "what cannot be read is not answered"
    done = cli("approve", served.approval, served.approval, "--yes")
    assert (done.code, done.out.splitlines()[-1]) == (0, f"approved: {served.approval} (approved)")


def test_a_stop_says_stopped_only_when_all_is_known(cli: Cli, served: Served) -> None:
    said = cli("stop", "service:prod/chat", "--then-undo")
    assert said.code == 0
    assert "nothing was in flight" in said.out
    assert "stopped service:prod/chat at epoch 1" in said.out
    machine = cli("stop", "service:prod/chat", "--no-wait", "--json")
    assert (machine.code, machine.json["stopped"], machine.json["unsettled"]) == (0, True, [])
    assert cli("stop", "service:prod/chat", "--wait", "9999").code == 2
