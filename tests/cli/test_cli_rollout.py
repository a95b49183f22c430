"""What `watchkeeper rollout` prints, against a daemon's API, and the packs as files to start from."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.faces import Served

from .conftest import Cli


def place(cli: Cli) -> str:
    """The service of the one incident that the daemon of the tests has."""
    (found,) = cli("rollout", "list", "--json").json
    return f"{found['scope']['environment']}/{found['scope']['service']}"


def test_a_service_that_nobody_moved_is_in_triage_and_what_it_lacks_is_said(cli: Cli, served: Served) -> None:
    said = cli("rollout", "list")
    assert said.code == 0
    assert "triage" in said.out
    assert "lacks" in said.out
    shown = cli("rollout", "show", place(cli))
    assert "asked for pilot" in " ".join(shown.out.split())
    assert max(map(len, (said.out + shown.out).splitlines())) <= 80


def test_a_move_without_evidence_is_refused_and_names_it(cli: Cli, served: Served) -> None:
    said = cli("rollout", "advance", place(cli), "-m", "I feel lucky")
    assert said.code == 5
    assert "judged" in said.err
    assert cli("rollout", "set-back", place(cli), "-m", "why not").code == 5
    assert cli("rollout", "history", place(cli)).out.startswith("Nobody has said anything")


def test_a_judgement_is_told_in_the_history(cli: Cli, served: Served) -> None:
    said = cli("rollout", "judge", served.incident, "right", "-m", "I would have done the same")
    assert (said.code, "right, counted for" in said.out) == (0, True)
    (line,) = cli("rollout", "history", place(cli), "--json").json
    assert line["judged"]["right"] is True
    assert cli("rollout", "judge", "inc_none", "wrong", "-m", "x").code == 4


@pytest.mark.parametrize(("words", "code"), [(("show", "chat"), 2), (("show", "prod/nowhere"), 4)])
def test_what_is_wrong_is_said(cli: Cli, served: Served, words: tuple[str, ...], code: int) -> None:
    said = cli("rollout", *words)
    assert said.code == code
    assert said.err


def test_the_packs_are_printed_as_a_policy_that_passes_its_own_tests(cli: Cli, tmp_path: Path) -> None:
    names = [name for name in cli("policy", "packs", "--json").json if name.startswith("rollout-")]
    assert len(names) == 4
    file = tmp_path / "rollout.yaml"
    file.write_text(cli("policy", "packs", *names).out)
    assert cli("policy", "validate", str(file)).code == 0
    said = cli("policy", "test", str(file))
    assert said.code == 0, said.err
