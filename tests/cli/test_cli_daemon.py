"""Commands against a running daemon: what they print, in 80 columns, and how they end."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from tests.testbed.faces import Served

from .conftest import Cli


def test_an_incident_is_seen_approved_and_told(cli: Cli, served: Served) -> None:
    seen = cli("incidents")
    assert seen.code == 0
    assert served.incident in seen.out
    assert "rpm_limit: unset → 30" in seen.out
    assert "touches 1 of 12" in seen.out
    done = cli("approve", served.approval, "--yes", "--comment", "go on")
    assert (done.code, done.out.splitlines()[-1]) == (0, f"approved: {served.approval} (approved)")
    again = cli("approve", served.approval, "--yes")
    assert again.code == 5
    assert "already approved" in again.err
    assert "next:" in again.err


def test_a_rejection_and_its_json(cli: Cli, served: Served) -> None:
    done = cli("reject", served.approval, "--yes", "--json")
    assert (done.code, done.json["state"]) == (0, "rejected")


def test_the_story_is_whole_and_fits_80_columns(cli: Cli, served: Served) -> None:
    told = cli("ledger", "show", served.incident, "--evidence")
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) <= 80
    for part in (
        "SEEN",
        "PROPOSED",
        "DECIDED",
        "CONSENT",
        "rate_over_baseline",
        "✗ autonomy",
        "shadow_only",
        "evidence:",
    ):
        assert part in told.out, told.out
    assert '{"calls_per_min": 412}' in told.out
    assert len(cli("ledger", "show", served.incident, "--json").json) == 5


def test_verify_with_and_without_an_anchor(cli: Cli, served: Served, tmp_path: Path) -> None:
    plain = cli("ledger", "verify")
    assert plain.code == 0
    assert "rollback not excluded" in plain.out
    anchor = tmp_path / "anchor"
    anchor.write_text(cli("ledger", "checkpoint").out)
    assert "rollback excluded up to the anchor" in cli("ledger", "verify", "--anchor", str(anchor)).out
    anchor.write_text("somebody else's\n")
    forged = cli("ledger", "verify", "--anchor", str(anchor), "--json")
    assert (forged.code, forged.json["ok"]) == (10, False)


def test_an_export_is_verified_offline_and_tampering_is_found(cli: Cli, served: Served, tmp_path: Path) -> None:
    directory, vkey = tmp_path / "export", cli("ledger", "key").out.strip()
    assert cli("ledger", "export", str(directory)).code == 0
    assert cli("ledger", "export", str(directory)).code == 2
    assert cli("ledger", "verify", "--export", str(directory), "--vkey", vkey).code == 0
    assert cli("ledger", "verify", "--export", str(directory)).code == 2
    entries = directory / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b"runaway_loop", b"runaway_lo0p", 1))
    found = cli("ledger", "verify", "--export", str(directory), "--vkey", vkey)
    assert found.code == 10
    assert "DOES NOT HOLD" in found.out


def test_replay_and_tail(cli: Cli, served: Served) -> None:
    again = cli("ledger", "replay", "--check")
    assert again.code == 0
    assert "decision: 1 the same, 0 differ" in again.out
    assert len(cli("ledger", "tail", "-n", "2", "--json").json) == 2
    assert "approval.requested" in cli("ledger", "tail", "-n", "1").out


def test_an_incident_is_replayed_step_by_step_with_its_inputs(cli: Cli, served: Served) -> None:
    told = cli("ledger", "replay", served.incident, "--check")
    assert told.code == 0
    assert max(map(len, told.out.splitlines())) <= 80
    for part in ("SEEN", "? not recomputable (code)", "DECIDED", "← action", "= made again, the same byte for byte"):
        assert part in told.out, told.out
    steps = cli("ledger", "replay", served.incident, "--json").json
    assert [each["again"] and each["again"]["made"] for each in steps] == [
        None, "not_recomputable", None, "same", None,
    ]  # fmt: skip
    assert cli("ledger", "replay", "inc_none").code == 4


def test_stop_status_resume(cli: Cli, served: Served) -> None:
    assert "nothing was in flight" in cli("stop", "service:prod/chat").out
    assert cli("status", "--json").json["stopped"][0]["scope"] == "service:prod/chat"
    assert "service:prod/chat" in cli("status").out
    assert cli("resume", "service:prod/chat").code == 0
    assert cli("stop", "nonsense").code == 2


def test_a_stop_of_nothing_is_not_taken_for_a_stop(cli: Cli, served: Served) -> None:
    shapeless = cli("stop", "service:chat")
    assert (shapeless.code, "service:ENVIRONMENT/NAME" in shapeless.err) == (2, True)
    assert cli("status", "--json").json["stopped"] == []
    misspelt = cli("stop", "agent:remediator/litelm")
    assert (misspelt.code, "is it spelt right? watchkeeper agents list" in misspelt.err) == (0, True)
    assert cli("stop", "environment:nowhere", "--json").json["known"] is False
    assert cli("stop", "agent:remediator/litellm", "--json").json["known"] is True
    assert cli("stop", f"target:litellm:main/key/{'k' * 400}", "--json").json["known"] is True
    lifted = cli("resume", "agent:remediator/litellm").out
    assert "still stopped: environment:nowhere" in lifted


def test_an_incident_says_what_waits_for_a_person(cli: Cli, served: Served) -> None:
    told = cli("incidents", "show", served.incident)
    assert f"watchkeeper approvals show {served.approval}" in told.out
    assert cli("incidents", "show", served.incident, "--json").json["approvals"] == [served.approval]


def test_status_tells_who_delivers(cli: Cli, served: Served) -> None:
    assert "source otlp waiting" in " ".join(cli("status").out.split())
    refused = httpx.post(f"{served.url}/v1/traces", json={}, trust_env=False)
    assert refused.status_code == 401
    headers = {"Authorization": f"Bearer {served.token}"}
    assert httpx.post(f"{served.url}/v1/traces", json={}, headers=headers, trust_env=False).status_code == 200
    text = " ".join(cli("status").out.split())
    assert "source otlp ok" in text
    assert "1 failed" in text
    assert "this call carries no valid token" in text
    (otlp,) = [each for each in cli("status", "--json").json["sources"] if each["name"] == "otlp"]
    assert (otlp["state"], otlp["signals"], otlp["failures"]) == ("ok", 0, 1)


def test_tokens_and_what_they_may(cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cli("token", "create", "vic", "--role", "viewer").out.strip()
    monkeypatch.setenv("WATCHKEEPER_TOKEN", made)
    assert cli("incidents", "show", served.incident).code == 0
    assert cli("approve", served.approval, "--yes").code == 6
    monkeypatch.setenv("WATCHKEEPER_TOKEN", served.token)
    assert cli("token", "revoke", "vic").code == 0
    monkeypatch.setenv("WATCHKEEPER_TOKEN", made)
    assert cli("status").code == 6


def test_a_policy_is_applied_and_rolled_back(cli: Cli, served: Served, tmp_path: Path) -> None:
    before = cli("policy", "show", "--json").json["version"]
    assert cli("policy", "apply", "--pack", "demo").code == 0
    assert cli("policy", "show", "--json").json["version"] != before
    assert cli("policy", "rollback", before).out == f"in force: {before}\n"
    assert cli("policy", "apply", str(tmp_path)).code == 2
    assert cli("policy", "apply", str(tmp_path / "none.yaml")).code == 2


def test_policy_and_undo(cli: Cli, served: Served) -> None:
    assert "kind: " in cli("policy", "show").out
    assert "daemon" in cli("policy", "history").out
    assert cli("undo", served.incident).code == 5
    assert cli("incidents", "close", served.incident).code == 2, "why?"
    assert cli("incidents", "close", served.incident, "-m", "over").code == 5, "it is not escalated"
    assert cli("incidents", "show", "inc_none").code == 4


def test_a_token_may_be_a_file(cli: Cli, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text(served.token + "\n")
    monkeypatch.setenv("WATCHKEEPER_TOKEN_FILE", str(file))
    both = cli("status")
    assert both.code == 2
    assert "given twice" in both.err
    assert served.token not in both.err
    monkeypatch.delenv("WATCHKEEPER_TOKEN")
    assert cli("status").code == 0
    for content in (b"", b"\xff\xfe"):
        file.write_bytes(content)
        assert cli("status").code == 2
    file.unlink()
    missing = cli("status")
    assert missing.code == 2
    assert "No such file" in " ".join(missing.err.split())


def test_no_daemon_is_said_with_the_next_step(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHKEEPER_API_URL", raising=False)
    monkeypatch.delenv("WATCHKEEPER_TOKEN", raising=False)
    said = cli("--data-dir", str(tmp_path), "status")
    assert said.code == 7
    assert "watchkeeper serve" in said.err
    assert cli("--api-url", "http://127.0.0.1:1", "--data-dir", str(tmp_path), "status").code == 6
    monkeypatch.setenv("WATCHKEEPER_TOKEN", "wk_x")
    assert cli("--api-url", "http://127.0.0.1:1", "status").code == 7


@pytest.mark.parametrize("word", ["a\nb", "\udcff", "x" * 70_000])
@pytest.mark.parametrize("command", [("approvals", "show"), ("policy", "rollback"), ("agents", "revoke")])
def test_what_no_address_can_say_is_told_as_such(cli: Cli, served: Served, command: tuple[str, str], word: str) -> None:
    said = cli(*command, f"remediator/{word}" if command[0] == "agents" else word)
    assert (said.code, said.out) == (2, "")
    assert "the daemon cannot be asked that" in said.err


def test_a_token_that_is_no_ascii_is_wrong_like_any_other(
    cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHKEEPER_TOKEN", "\ufeffwk_sécret")
    said = cli("status")
    assert said.code == 6
    assert "carries no valid token" in said.err
    assert "cret" not in said.err
