"""What is printed: text from outside is text, everything fits 80 columns, and errors are JSON where JSON is wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.text import Text
from tests.testbed.faces import Served

from watchkeeper.cli import out
from watchkeeper.core.errors import ConfigError

from .conftest import Cli

HOSTILE = "gpt[vision] [/x] [bold red]:smile: \x1b[2J[link=http://evil]"


def test_invariant_7_no_markup_of_others_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    out.say(HOSTILE)
    out.say(HOSTILE, "dim", into=out.errors)
    out.console.print(HOSTILE.replace("\x1b", ""))
    out.failure(ConfigError(HOSTILE, place=HOSTILE), json_wanted=False)
    out.failure(ConfigError(HOSTILE), json_wanted=True)
    out.table(("what",), [(HOSTILE,), (Text("our own", "red"),)], "")
    shown = " ".join("".join(capsys.readouterr()).split())
    assert shown.count("gpt[vision] [/x] [bold red]:smile:") == 7
    assert "\x1b" not in shown
    assert "our own" in shown


@pytest.mark.parametrize("scope", ["service:[/x]", "target:litellm:main/model_group/gpt[vision]"])
def test_invariant_7_a_scope_is_printed_as_it_is(cli: Cli, served: Served, scope: str) -> None:
    for words in (("stop", scope), ("status",), ("resume", scope)):
        said = cli(*words)
        assert said.code == 0
        assert scope in said.out.replace("\n", "").replace(" ", "")


READS = [
    ("incidents",),
    ("incidents", "--all"),
    ("incidents", "show", "INCIDENT"),
    ("ledger", "show", "INCIDENT", "--evidence"),
    ("ledger", "tail"),
    ("ledger", "verify"),
    ("ledger", "replay"),
    ("status",),
    ("stop", "service:prod/chat"),
    ("resume", "service:prod/chat"),
    ("policy", "show"),
    ("policy", "history"),
    ("runbook", "list"),
    ("runbook", "lint"),
    ("runbook", "show", "fail-over-provider"),
    ("config", "check"),
    ("config", "show"),
    ("approve", "APPROVAL", "--yes"),
]


def fits(text: str) -> bool:
    """80 columns, but for one word that cannot be broken: a path, a digest."""
    return all(len(line) <= 80 or len(line.split()) == 1 for line in text.splitlines())


@pytest.mark.parametrize("words", READS, ids="-".join)
def test_what_is_told_fits_80_columns(cli: Cli, served: Served, words: tuple[str, ...]) -> None:
    names = {"INCIDENT": served.incident, "APPROVAL": served.approval}
    said = cli(*(names.get(word, word) for word in words))
    assert said.code == 0, said.err
    assert fits(said.out), said.out


FAILING = [
    (("config", "check", "--config", "FILE"), "bad_config", 2),
    (("policy", "lint", "FILE"), "bad_policy", 2),
    (("policy", "simulate", "FILE"), "bad_policy", 2),
    (("runbook", "lint", "FILE"), "bad_runbook", 2),
    (("runbook", "show", "nothing-of-the-kind"), "not_found", 4),
    (("incidents", "show", "inc_none"), "not_found", 4),
    (("undo", "INCIDENT"), "conflict", 5),
    (("stop", "nonsense"), "bad_input", 2),
    (("approve", "APPROVAL"), "bad_input", 2),
]


@pytest.mark.parametrize(("words", "code", "ended"), FAILING, ids=["-".join(each[0]) for each in FAILING])
def test_errors_fit_80_columns_and_are_json_where_json_is_wanted(
    cli: Cli, served: Served, tmp_path: Path, words: tuple[str, ...], code: str, ended: int
) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("apiVersion: watchkeeper.dev/v1\nkind: Runboook\nmetadata: {name: x}\nspec: {trigger: {}}\n")
    names = {"INCIDENT": served.incident, "APPROVAL": served.approval, "FILE": str(file)}
    asked = [names.get(word, word) for word in words]
    told = cli(*asked)
    assert (told.code, told.out) == (ended, "")
    assert told.err.startswith("error ")
    assert fits(told.err.replace(str(tmp_path), "")), told.err
    as_json = cli(*asked, "--json")
    assert (as_json.code, as_json.out) == (ended, "")
    assert json.loads(as_json.err)["code"] == code
    assert set(json.loads(as_json.err)) == {"code", "what", "cause", "next", "place"}


def test_a_wrong_option_is_json_too(cli: Cli) -> None:
    for words in (("ledger", "tail", "--json", "-n", "many"), ("undo", "--json"), ("--json", "nothing")):
        said = cli(*words)
        assert said.code == 2
        assert json.loads(said.err)["code"] == "bad_input"
    assert "Usage:" in cli("undo").err


def test_an_error_fits_80_columns_with_the_word_before_it(capsys: pytest.CaptureFixture[str]) -> None:
    out.failure(ConfigError("word " * 40, cause="word " * 40), json_wanted=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error word")
    assert max(map(len, lines)) <= out.WIDTH
