"""What `watchkeeper trust` prints: the figures of each record, and what is missing, in 80 columns."""

from __future__ import annotations

from typing import Any

import pytest
from tests.testbed.faces import Served

from watchkeeper.cli import client
from watchkeeper.core.actions import Intent
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.trust.evidence import Counts, Evidence
from watchkeeper.policies.trust.key import TrustKey
from watchkeeper.policies.trust.posterior import Levels, Tally
from watchkeeper.policies.trust.standing import standing
from watchkeeper.policies.trust.terms import Terms

from .conftest import Cli

KEY = TrustKey(
    agent="remediator/litellm",
    manifest_digest="sha256:m",
    runbook="throttle-runaway-caller",
    intent=Intent.THROTTLE,
    scope=Scope(environment="production", service="a-service-with-quite-a-long-name"),
)


def answers(monkeypatch: pytest.MonkeyPatch, *known: Evidence) -> None:
    found = [standing(KEY, each, Terms()).model_dump(mode="json") for each in known]
    monkeypatch.setattr(client.Client, "get", lambda self, path, **query: found)


def test_nothing_is_kept_yet(cli: Cli, served: Served) -> None:
    said = cli("trust")
    assert (said.code, said.out.split(":")[0]) == (0, "No outcome is kept yet")
    assert cli("trust", "--json").json == []


def test_an_agent_that_there_is_not(cli: Cli, served: Served) -> None:
    said = cli("trust", "remediator/litelm")
    assert said.code == 4
    assert "remediator/litellm" in said.err


@pytest.mark.parametrize(
    ("known", "told"),
    [
        (
            Evidence(
                levels=Levels(Tally(27, 0)),
                counts=Counts(27, 0, 3),
                approved=20,
                untreated=Tally(2, 10),
                untreated_counts=Counts(2, 10, 0),
            ),
            [
                "verified 27 of 27 (100.0%), 20 approved by people, 3 count for nothing",
                "lower bound 0.898",
                "untreated 2 of 12 (16.7%), at most 0.411",
                "missing: 27 of 30 outcomes",
            ],
        ),
        (
            Evidence(levels=Levels(siblings=Tally(30, 0)), edited=Counts(3, 1, 0), rollbacks=1),
            [
                "verified 0 of 0, edited plans apart: 3 of 4 (75.0%)",
                "lower bound 0.761, 10 of it borrowed",
                "untreated: not seen in shadow",
                "missing: 0 of 30 outcomes; rate none of 0.95; 1 rolled back of late; lower "
                "bound 0.761 of 0.85; 0 of 10 seen untreated; lower bound 0.761 does not "
                "beat untreated none",
            ],
        ),
        (
            Evidence(
                levels=Levels(Tally(60, 0)),
                counts=Counts(60, 0, 0),
                untreated=Tally(0, 10),
                untreated_counts=Counts(0, 10, 0),
            ),
            ["verified 60 of 60 (100.0%)", "promotion is proposed: a person decides"],
        ),
    ],
)
def test_the_figures_and_what_is_missing(
    cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch, known: Evidence, told: list[str]
) -> None:
    answers(monkeypatch, known)
    said = cli("trust")
    assert max(map(len, said.out.splitlines())) <= 80
    text: Any = " ".join(said.out.split())
    for part in (KEY.agent, "production/a-service-with-quite-a-long-name", *told):
        assert part in text, said.out
