"""Commands that need no daemon: settings, runbooks, policies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import JsonValue
from tests.testbed.receiver import Receiver

from watchkeeper.cli import reference, story
from watchkeeper.core.entries import EntryType

from .conftest import Cli

GATEWAY = "gateways:\n  - name: main\n    base_url: http://127.0.0.1:1\n    admin_key: sk-very-secret-1\n"


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "wk.yaml"
    file.write_text(f"data_dir: {tmp_path / 'data'}\n{GATEWAY}")
    return file


def test_config_check_tells_what_it_found(cli: Cli, settings: Path) -> None:
    said = cli("config", "check", "--config", str(settings))
    assert said.code == 0
    assert "throttle-runaway-caller" in said.out
    assert not (settings.parent / "data").exists()


def test_config_check_names_the_line_and_the_nearest_key(cli: Cli, settings: Path) -> None:
    settings.write_text(GATEWAY + "polcy:\n  pack: demo\n")
    said = cli("config", "check", "--config", str(settings))
    assert said.code == 2
    assert f"{settings}:5" in said.err
    assert 'did you mean "policy"' in said.err


def test_config_check_finds_an_unknown_pack_and_goes_on(cli: Cli, settings: Path) -> None:
    settings.write_text(settings.read_text() + "policy:\n  pack: demos\n")
    said = cli("config", "check", "--config", str(settings), "--json")
    assert said.code == 4
    assert [each["state"] for each in said.json["checks"]] == ["failed", "ok", "ok", "ok"]


def test_config_check_connects_only_when_asked(cli: Cli, settings: Path) -> None:
    said = cli("config", "check", "--config", str(settings), "--connect", "--json")
    assert said.code == 7
    assert [each["name"] for each in said.json["checks"]][-2:] == ["database", "gateway main"]
    assert "sk-very-secret-1" not in said.out + said.err


def test_config_check_asks_prometheus_what_the_daemon_will_ask(cli: Cli, settings: Path, receiver: Receiver) -> None:
    query = "{name: up, promql: up, subject_kind: host, subject_label: instance}"
    source = f"{{name: prom, base_url: {receiver.url}, queries: [{query}]}}"
    settings.write_text(f"data_dir: {settings.parent / 'data'}\nprometheus: [{source}]\n")
    asked = ("config", "check", "--config", str(settings), "--connect", "--json")
    assert cli(*asked).code == 7
    receiver.pages["/api/v1/query"] = json.dumps(answer(instance="db"))
    said = cli(*asked)
    assert (said.code, said.json["checks"][-1]["detail"]) == (0, "answers, 1 queries give 1 samples")
    receiver.pages["/api/v1/query"] = json.dumps(answer(job="db"))
    said = cli(*asked)
    assert said.code == 2
    assert "queries.up: 1 series have no label instance" in said.out


def answer(**labels: str) -> dict[str, JsonValue]:
    """Prometheus's answer to an instant query: one series with these labels."""
    series: JsonValue = {"metric": dict(labels), "value": [1700000000, "1"]}
    return {"status": "success", "data": {"resultType": "vector", "result": [series]}}


def test_config_check_warns_of_what_is_hardly_meant(cli: Cli, settings: Path) -> None:
    asked = ("config", "check", "--config", str(settings))
    settings.write_text(
        settings.read_text() + "api: {host: 0.0.0.0}\nprotected: ['litelm:main/key/a', 'litellm:main/kay/*', 'lite*']\n"
    )
    said = cli(*asked, "--json")
    assert said.code == 0
    warnings = {each["name"]: each.get("warning", "") for each in said.json["checks"]}
    assert "0.0.0.0:8720 can be reached from other machines" in warnings["api"]
    assert warnings["protected"].startswith("litelm:main/key/a, litellm:main/kay/*: no target begins so")
    assert "warning protected" in cli(*asked).out
    settings.write_text(settings.read_text().replace("litelm:", "litellm:").replace("kay", "key"))
    assert [each["state"] for each in cli(*asked, "--json").json["checks"]][-2:] == ["warning", "ok"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_config_check_is_content_with_loopback(cli: Cli, settings: Path, host: str) -> None:
    settings.write_text(settings.read_text() + f"api: {{host: '{host}'}}\n")
    checks = cli("config", "check", "--config", str(settings), "--json").json["checks"]
    assert {each["state"] for each in checks} == {"ok"}


def test_config_check_knows_what_the_adapters_can_do(cli: Cli, settings: Path) -> None:
    book = settings.parent / "books" / "own.yaml"
    book.parent.mkdir()
    book.write_text(cli("runbook", "show", "throttle-runaway-caller").out)
    settings.write_text(settings.read_text() + f"runbooks: {{dirs: [{book.parent}]}}\n")
    asked = ("config", "check", "--config", str(settings))
    assert cli(*asked).code == 0
    book.write_text(book.read_text().replace("rpm_limit", "rpm_limitt"))
    said = cli(*asked)
    assert said.code == 2
    assert 'did you mean "rpm_limit"' in " ".join(said.out.split())


def test_config_show_masks_secrets(cli: Cli, settings: Path) -> None:
    for words in (("config", "show"), ("config", "show", "--json")):
        said = cli(*words, "--config", str(settings))
        assert said.code == 0
        assert "sk-very-secret-1" not in said.out
        assert "127.0.0.1:1" in said.out


def test_config_migrate_makes_the_schema_once(cli: Cli, settings: Path) -> None:
    first = cli("config", "migrate", "--config", str(settings), "--json")
    assert first.code == 0
    assert first.json["schema"]
    assert cli("config", "migrate", "--config", str(settings), "--json").json == first.json


def test_the_page_of_settings_is_what_the_models_say() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == reference.markdown(), "run: watchkeeper config reference > docs/settings.md"


def test_shipped_runbooks_are_listed_linted_and_shown(cli: Cli) -> None:
    assert len(cli("runbook", "list", "--json").json) == 8
    assert "fail-over-provider" in cli("runbook", "list").out
    assert cli("runbook", "lint").code == 0
    assert "kind: Runbook" in cli("runbook", "show", "cap-token-spend").out
    unknown = cli("runbook", "show", "cap-token-spent")
    assert unknown.code == 4
    assert 'did you mean "cap-token-spend"' in unknown.err


def test_runbook_lint_ends_with_2_on_an_error_and_names_the_line(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    whole = cli("runbook", "show", "cap-token-spend").out.split("\n", 1)[1]
    file.write_text(whole.replace("ttl: ", "ttl: 1s  # was ", 1))
    said = cli("runbook", "lint", str(file))
    assert said.code == 2
    assert "ttl_too_short" in said.out
    assert f"{file}:" in said.out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "rpm_limit",
            "rpm_limitt",
            'no parameter of throttle of a key (did you mean "rpm_limit"?) (unknown_parameter)',
        ),
        ("intent: throttle", "intent: restart", "no adapter can restart a key"),
        ("op: <=", "op: '>='", "(sli_other_way)"),
        ("times: 1.5", "times: 1.1", "(tighter_than_the_limit)"),
    ],
)
def test_runbook_lint_knows_what_the_adapters_can_do(cli: Cli, tmp_path: Path, old: str, new: str, told: str) -> None:
    book = tmp_path / "own.yaml"
    text = cli("runbook", "show", "throttle-runaway-caller").out
    assert old in text
    book.write_text(text)
    assert cli("runbook", "lint", str(book)).code == 0
    book.write_text(text.replace(old, new))
    said = cli("runbook", "lint", str(book))
    assert said.code == 2
    assert told in " ".join(said.out.split())


@pytest.mark.parametrize("content", ["", "# nothing yet\n", None])
def test_runbook_lint_of_nothing_is_an_error(cli: Cli, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "own.yaml").write_text(content)
    said = cli("runbook", "lint", str(tmp_path))
    assert said.code == 2
    assert "no runbook here" in " ".join(said.err.split())


GRANT = """apiVersion: watchkeeper.dev/v1
kind: Grant
metadata:
  name: g
spec:
  match:
    environments: [anything]
    services: [at-all]
    agents: [remediator/litellm]
    runbooks: [cap-token-spend]
    intents: [throttle]
    targetKinds: [key, team]
  autonomy: propose
"""


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("cap-token-spend", "cap-token-spent", "spec.match.runbooks: there is no 'cap-token-spent'"),
        ("remediator/litellm", "remediator/litelm", "agents: there is no 'remediator/litelm' (did you mean \"remed"),
        ("[key, team]", "[key, pot]", "targetKinds: there is no 'pot'"),
    ],
)
def test_policy_lint_looks_up_what_a_document_names(cli: Cli, tmp_path: Path, old: str, new: str, told: str) -> None:
    file = tmp_path / "g.yaml"
    file.write_text(GRANT)
    assert cli("policy", "lint", str(file)).code == 0
    assert cli("policy", "lint", str(file), "--json").json["findings"] == []
    file.write_text(GRANT.replace(old, new))
    said = cli("policy", "lint", str(file))
    assert said.code == 2
    assert f"{file}:4: " in " ".join(said.out.split())
    assert told in " ".join(said.out.split())
    (finding,) = cli("policy", "lint", str(file), "--json").json["findings"]
    assert (finding["place"], finding["document"]) == (f"{file}:4", "grant/g")


def test_policy_lint_knows_a_teams_own_runbooks_when_it_is_shown_them(cli: Cli, tmp_path: Path) -> None:
    file, books = tmp_path / "g.yaml", tmp_path / "books"
    books.mkdir()
    text = cli("runbook", "show", "cap-token-spend").out
    (books / "own.yaml").write_text(text.replace("name: cap-token-spend", "name: our-own"))
    file.write_text(GRANT.replace("cap-token-spend", "our-own"))
    assert cli("policy", "lint", str(file)).code == 2
    assert cli("policy", "lint", str(file), "--runbooks", str(books)).code == 0


def test_invariant_7_text_from_outside_cannot_move_the_cursor() -> None:
    shown = {"kind": "prompt", "commitment": "hmac-sha256:ab", "size": 9, "text": "\x1b[2Jgone [bold]", "cut": False}
    step = {
        "part": "other",
        "at": "2026-01-01T00:00:00Z",
        "type": "of.another.version",
        "data": {},
        "evidence": [shown],
    }
    text = "\n".join(line.text for line in story.lines([step], evidence=False))
    assert "\x1b" not in text
    assert "gone [bold]" in text


def test_every_kind_of_entry_has_words() -> None:
    from tests.testbed.entries import one_of_each

    for kind, draft in one_of_each().items():
        data = draft.data.model_dump(mode="json")
        step = {"part": "other", "at": "2026-01-01T00:00:00Z", "type": kind, "evidence": [], "data": data}
        lines = [line.text for line in story.lines([step], evidence=False)]
        assert max(map(len, lines)) <= 80
        assert type(draft.data).__name__ not in lines[0], kind
    assert len(one_of_each()) == len(EntryType)
