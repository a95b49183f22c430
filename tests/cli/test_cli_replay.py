"""Replay from the command line: of a live daemon and of an export alone, and the exit codes that a CI job reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.testbed.decided import decided, golden_export
from tests.testbed.decisions import a_grant, a_policy
from tests.testbed.faces import Served
from tests.testbed.past import Past

from watchkeeper.core.decisions import Verdict
from watchkeeper.ledger.exports.layout import ENTRIES

ASKS = """
apiVersion: watchkeeper.dev/v1
kind: Grant
metadata: {name: g}
spec:
  match: {environments: [demo], services: ["*"], agents: ["*"], runbooks: ["*"], intents: ["*"], targetKinds: ["*"]}
  autonomy: propose
"""


@pytest.fixture
def past(tmp_path: Path) -> Path:
    """One effect that recovered, and one that was denied."""
    made = Past(a_policy(a_grant(minConfidence=0.5)))
    made.act(made.decide(0))
    made.decide(1, target="k2", protected=True)
    return made.export(tmp_path / "past")


@pytest.fixture
def asks(tmp_path: Path) -> Path:
    path = tmp_path / "asks.yaml"
    path.write_text(ASKS)
    return path


def fits(text: str) -> bool:
    return all(len(line) <= 80 for line in text.splitlines())


def test_invariant_8_an_export_replays_by_itself(cli: Cli, tmp_path: Path) -> None:
    export = golden_export(tmp_path / "export")
    said = cli("ledger", "replay", "--check", "--export", str(export))
    assert (said.code, said.err) == (0, "")
    assert "84 entries: 81 were made again and are the same, byte for byte" in said.out


def test_a_decision_that_was_changed_is_told_with_its_place(cli: Cli, tmp_path: Path) -> None:
    export = golden_export(tmp_path / "export")
    entry, record = next(each for each in decided(export) if each[1].decision.verdict is Verdict.DENY)
    entries = export / ENTRIES
    old, new = b'"verdict":"deny"', b'"verdict":"allow"'
    lines = [
        line.replace(old, new) if entry.encode() in line else line for line in entries.read_bytes().splitlines(True)
    ]
    entries.write_bytes(b"".join(lines))
    said = cli("ledger", "replay", "--check", "--export", str(export))
    assert said.code == 10
    assert f"differs: {entry} {record.input.incident}" in said.out
    assert 'decision.verdict: recorded "allow", again "deny"' in said.out
    assert fits(said.out)
    assert cli("ledger", "replay", "--export", str(export)).code == 0
    assert cli("ledger", "replay", "--export", str(export), "--json").json["differed"] == [entry]


def test_an_export_of_another_version_has_no_policies(cli: Cli, tmp_path: Path) -> None:
    export = golden_export(tmp_path / "export")
    (export / "policies.jsonl").unlink()
    said = cli("ledger", "replay", "--check", "--export", str(export), "--json")
    assert (said.code, said.json["matched"]) == (0, 0)
    assert said.json["not_recomputable"] == [{"reason": "not_kept", "count": 81}]


def test_an_export_whose_policy_was_edited_is_refused(cli: Cli, tmp_path: Path) -> None:
    export = golden_export(tmp_path / "export")
    documents = export / "policy-documents.jsonl"
    documents.write_bytes(documents.read_bytes().replace(b'"bounded"', b'"propose"'))
    said = cli("ledger", "replay", "--check", "--export", str(export))
    assert said.code == 10
    assert "is not what its digest says" in " ".join(said.err.split())
    assert cli("ledger", "replay", "--export", str(tmp_path / "nowhere")).code == 2


def test_a_live_daemons_decisions_are_made_again_here(cli: Cli, served: Served) -> None:
    said = cli("ledger", "replay", "--check", "--json")
    assert (said.code, said.json["matched"], said.json["differed"]) == (0, 1, [])


def test_another_policy_is_asked_of_a_live_daemon(cli: Cli, served: Served, tmp_path: Path) -> None:
    wide = tmp_path / "wide.yaml"
    wide.write_text(ASKS.replace("demo", "prod").replace("propose", "bounded"))
    said = cli("ledger", "replay", "--policy", str(wide), "--since", "90d", "--json")
    (found,) = said.json["differing"]
    assert (said.code, found["change"], found["became"]) == (11, "wider", "unobserved")
    assert said.json["let_through"] == 1


def test_what_would_be_blocked_is_told_with_its_outcome(cli: Cli, past: Path, asks: Path) -> None:
    said = cli("ledger", "replay", "--policy", str(asks), "--export", str(past))
    assert said.code == 11
    text = " ".join(said.out.split())
    assert "2 decisions: 0 the same, 1 narrower, 0 wider, 1 the same on other terms" in text
    assert "blocked, though done then: 1 recovered" in text
    assert "candidate require approval, propose_only (grant/g)" in text
    assert "became recovered; the incident was closed: recovered" in text
    assert fits(said.out)


@pytest.mark.parametrize(("fail_on", "code"), [("any", 11), ("narrower", 11), ("wider", 0), ("none", 0)])
def test_a_ci_job_says_what_it_ends_at(fail_on: str, code: int, cli: Cli, past: Path, asks: Path) -> None:
    assert cli("ledger", "replay", "--policy", str(asks), "--export", str(past), "--fail-on", fail_on).code == code


def test_the_policy_in_force_ends_well(cli: Cli, past: Path, asks: Path) -> None:
    asks.write_text(ASKS.replace("propose", "bounded") + "  minConfidence: 0.5\n")
    said = cli("ledger", "replay", "--policy", str(asks.parent), "--export", str(past), "--json")
    assert (said.code, said.json["same"], said.json["differing"]) == (0, 2, [])


def test_a_policy_that_does_not_compile_is_told_by_file_and_line(cli: Cli, past: Path, asks: Path) -> None:
    asks.write_text(ASKS.replace("autonomy: propose", "autonomy: everything"))
    said = cli("ledger", "replay", "--policy", str(asks), "--export", str(past))
    assert said.code == 2
    assert f"{asks}:7" in said.err


@pytest.mark.parametrize(
    "words",
    [
        ("--check", "--policy", "x.yaml"),
        ("--since", "90d"),
        ("--policy", "ASKS", "--since", "yesterday"),
        ("--policy", "ASKS", "--until", "90"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(words: tuple[str, ...], cli: Cli, past: Path, asks: Path) -> None:
    given = [str(asks) if word == "ASKS" else word for word in words]
    said = cli("ledger", "replay", *given, "--export", str(past), "--json")
    assert said.code == 2
    assert json.loads(said.err)["next"]
