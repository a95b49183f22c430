"""What `watchkeeper agents` prints, against a daemon's API."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.faces import Served

from watchkeeper.agents.manifest import MODULES, manifest_digest
from watchkeeper.cli import client

from .conftest import Cli

NAME = "remediator/litellm"


def test_the_list_names_every_agent_in_80_columns(cli: Cli, served: Served) -> None:
    said = cli("agents", "list")
    assert said.code == 0
    assert all(name in said.out for name in MODULES)
    assert max(map(len, said.out.splitlines())) <= 80
    assert [each["name"] for each in cli("agents", "list", "--json").json] == sorted(MODULES)


def test_one_agent_is_shown_whole(cli: Cli, served: Served) -> None:
    said = cli("agents", "show", NAME)
    assert said.code == 0
    assert f"{NAME}, active" in said.out
    for word in ("ceiling full", "keeps verified outcomes", "0 of 1000 iterations", manifest_digest(NAME)[:19]):
        assert word in " ".join(said.out.split())
    assert max(map(len, said.out.splitlines())) <= 80


def test_revoked_and_reinstated_and_a_ceiling_with_their_history(cli: Cli, served: Served) -> None:
    assert "revoked remediator/litellm at epoch 1" in cli("agents", "revoke", NAME, "-m", "it acts oddly").out
    assert "revoked by" in cli("agents", "show", NAME).out
    assert cli("agents", "reinstate", NAME).code == 0
    said = cli("agents", "ceiling", NAME, "propose", "-m", "holidays")
    assert (said.code, "ceiling full to propose" in said.out) == (0, True)
    told = cli("agents", "history", NAME)
    for word in ("ceiling full to propose, by", "holidays", "reinstated, by", "revoked, by", "it acts oddly"):
        assert word in told.out
    assert max(map(len, told.out.splitlines())) <= 80
    lines = cli("agents", "history", NAME, "--json").json
    assert lines[0]["word"]["autonomy"] == "propose"
    newest = cli("agents", "history", NAME, "--limit", "1").out
    assert f"older ones: --before {lines[0]['number']}" in newest
    older = cli("agents", "history", NAME, "--before", str(lines[0]["number"]), "--json").json
    assert older == lines[1:]
    assert "Nobody has said" in cli("agents", "history", "detector/token-cost").out


def test_a_promotion_without_a_record_is_refused_with_what_is_missing(cli: Cli, served: Served) -> None:
    said = cli("agents", "promote", NAME, "throttle-runaway-caller/throttle", "prod/chat", "-m", "why not")
    assert said.code == 5
    assert "outcomes" in said.err
    assert f"watchkeeper trust {NAME}" in said.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "litellm"), 2),
        (("show", "remediator/litelm"), 4),
        (("promote", NAME, "throttle", "prod/chat", "-m", "x"), 2),
        (("demote", NAME, "a/throttle", "prod", "-m", "x"), 2),
        (("demote", NAME, "throttle-runaway-caller/throttle", "prod/chat", "-m", "x"), 5),
        (("ceiling", NAME, "godlike", "-m", "x"), 2),
        (("promote", NAME, "a/throttle", "prod/chat"), 2),
    ],
)
def test_what_is_wrong_is_said(cli: Cli, served: Served, words: tuple[str, ...], code: int) -> None:
    said = cli("agents", *words)
    assert said.code == code
    assert said.err


def test_a_promotion_of_another_make_is_shown_as_void(
    cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = cli("agents", "show", NAME, "--json").json
    scope = {"environment": "prod", "service": "chat"}
    about: dict[str, Any] = {"runbook": "fail-over-provider", "intent": "shift_traffic", "scope": scope}
    makes = {"now": shown["manifest_digest"], "before": "sha256:before"}
    promotions = [{**about, "runbook": each, "autonomy": "bounded", "manifest_digest": makes[each]} for each in makes]
    monkeypatch.setattr(client.Client, "get", lambda self, path, **query: {**shown, "promotions": promotions})
    said = cli("agents", "show", NAME).out
    assert "promoted to bounded: now/shift_traffic in prod/chat\n" in said
    assert "promoted to bounded: before/shift_traffic in prod/chat (void: for another make)" in " ".join(said.split())
