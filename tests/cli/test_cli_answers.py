"""approve and reject: nothing is answered that nobody was asked about."""

from __future__ import annotations

import io

import pytest
from tests.testbed.faces import Served

from .conftest import Cli


class Keyboard(io.StringIO):
    """A terminal with something typed at it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("verb", ["approve", "reject"])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_without_a_terminal_yes_is_needed(cli: Cli, served: Served, verb: str, more: tuple[str, ...]) -> None:
    said = cli(verb, served.approval, *more)
    assert (said.code, said.out) == (2, "")
    assert f"watchkeeper {verb} {served.approval} --yes" in said.err
    assert len(cli("incidents", "--json").json["approvals"]) == 1


def test_yes_answers_and_still_shows_the_plan(cli: Cli, served: Served) -> None:
    said = cli("approve", served.approval, "--yes")
    assert said.code == 0
    assert "rpm_limit: unset → 30" in said.out


def test_a_person_sees_the_plan_and_is_asked(cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("n\n"))
    said = cli("approve", served.approval)
    assert said.code == 1
    assert said.out.index("rpm_limit: unset → 30") < said.out.index("Approve this plan?")
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    assert "rejected: " in cli("reject", served.approval).out


def test_a_person_who_wants_json_is_asked_beside_it(cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Keyboard("y\n"))
    said = cli("approve", served.approval, "--json")
    assert (said.code, said.json["state"]) == (0, "approved")
    assert said.err.index("rpm_limit: unset → 30") < said.err.index("Approve this plan?")
