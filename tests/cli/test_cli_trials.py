"""policy test and explain, as a person and as a script see them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policies.trials.documents import EVERYTHING, TEST

from .conftest import Cli


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "p.yaml").write_text(EVERYTHING)
    return folder


def test_a_failed_case_says_what_was_expected_and_which_gate_said_otherwise(cli: Cli, policies: Path) -> None:
    (policies / "t.yaml").write_text(TEST.replace("reasons: [confidence_too_low]", "reasons: [trust_too_low]"))
    said = cli("policy", "test", str(policies))
    assert said.code == 1
    assert "0 of 2 cases passed" in said.out
    assert f"{policies / 't.yaml'}:7" in said.out
    assert "confidence: confidence_too_low by grant/all" in said.out
    assert max(len(line) for line in said.out.splitlines() if str(policies) not in line) <= 80


def test_all_passed_ends_with_nought(cli: Cli, policies: Path) -> None:
    (policies / "t.yaml").write_text(TEST.replace("verdict: deny", "verdict: allow"))
    said = cli("policy", "test", str(policies), "--json")
    assert said.code == 0
    assert [(each["name"], each["passed"]) for each in said.json["cases"]] == [("t/one", True), ("t/two", True)]


def test_a_policy_without_tests_is_told_how_to_write_one(cli: Cli, policies: Path) -> None:
    said = cli("policy", "test", str(policies))
    assert said.code == 2
    assert "PolicyTest" in said.err


def test_explain_walks_through_every_gate(cli: Cli, policies: Path) -> None:
    said = cli("policy", "explain", str(policies), "-g", "blastCount=3", "-g", "confidence=0.5")
    assert said.code == 0
    for word in ("confidence_too_low", "rule_not_met", "few only", "grant/all", "deny", "sha256:"):
        assert word in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    as_json = cli("policy", "explain", str(policies), "--json")
    assert as_json.json["verdict"] == "allow"
    assert {"window", "freeze", "error_budget", "rule", "standing"} <= {each["gate"] for each in as_json.json["walk"]}


@pytest.mark.parametrize(
    ("pair", "told"), [("confidense=1", "did you mean"), ("confidence", "KEY=VALUE"), ("confidence=2", "confidence")]
)
def test_what_is_given_wrongly_is_told(cli: Cli, policies: Path, pair: str, told: str) -> None:
    said = cli("policy", "explain", str(policies), "--given", pair)
    assert said.code == 2
    assert told in said.err


def test_diff_says_whose_authority_grows_and_stops_a_pull_request(cli: Cli, policies: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.yaml"
    changed.write_text(EVERYTHING.replace("maxBlastCount: 3", "maxBlastCount: 9"))
    said = cli("policy", "diff", str(policies), str(changed), "--fail-on", "grows")
    assert said.code == 11
    assert "things touched at most 3 → 9" in said.out
    assert "authority grows" in said.out
    back = cli("policy", "diff", str(changed), str(policies), "--fail-on", "grows", "--json")
    assert (back.code, back.json["changed"][0]["way"], back.json["edited"]) == (0, "shrinks", ["grant/all"])


def test_diff_between_shipped_packs(cli: Cli) -> None:
    same = cli("policy", "diff", "pack:demo", "pack:demo")
    assert (same.code, same.out.strip()) == (0, "nobody's authority changes")
    assert cli("policy", "diff", "pack:demos", "pack:demo").code == 4
    wide = cli("policy", "diff", "pack:baseline", "pack:demo")
    assert "autonomy shadow → bounded" in wide.out
    assert max(map(len, wide.out.splitlines())) <= 80
