"""Commands that need no daemon: settings, runbooks, policies."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    assert [each["state"] for each in said.json["checks"]] == ["failed", "ok", "ok"]


def test_config_check_connects_only_when_asked(cli: Cli, settings: Path) -> None:
    said = cli("config", "check", "--config", str(settings), "--connect", "--json")
    assert said.code == 7
    assert [each["name"] for each in said.json["checks"]][-2:] == ["database", "gateway main"]
    assert "sk-very-secret-1" not in said.out + said.err


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
    assert len(cli("runbook", "list", "--json").json) == 3
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


def test_policy_lint_compiles_or_names_the_place(cli: Cli, tmp_path: Path) -> None:
    limit = tmp_path / "limit.yaml"
    limit.write_text("apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata:\n  name: a\nspec: {}\n")
    good = cli("policy", "lint", str(tmp_path))
    assert good.code == 0
    assert "default deny" in good.out
    limit.write_text(limit.read_text().replace("Limit", "Limt"))
    bad = cli("policy", "lint", str(tmp_path))
    assert bad.code == 2
    assert f"{limit}:2" in bad.err


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
