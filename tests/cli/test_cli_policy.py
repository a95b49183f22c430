"""policy validate, lint, graph, schema, simulate, history: as people and scripts use them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.testbed.decisions import a_grant, a_policy
from tests.testbed.faces import Served
from tests.testbed.past import Past

LIMIT = "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata:\n  name: a\nspec: {}\n"
GRANT = """apiVersion: watchkeeper.dev/v1
kind: Grant
metadata:
  name: g
spec:
  match: {environments: [demo], services: ["*"], agents: ["*"], runbooks: ["*"], intents: ["*"], targetKinds: ["*"]}
  autonomy: propose
  rules:
    - {name: sure, expression: confidence > 0.5, message: be sure}
"""
TEST = """apiVersion: watchkeeper.dev/v1
kind: PolicyTest
metadata: {name: t}
spec:
  cases: [{name: one, expect: {verdict: deny}}]
"""


@pytest.fixture
def grant(tmp_path: Path) -> Path:
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "g.yaml").write_text(GRANT)
    return folder


def test_valid_documents_are_listed_with_their_version(cli: Cli, grant: Path) -> None:
    (grant / "t.yaml").write_text(TEST)
    said = cli("policy", "validate", str(grant))
    assert (said.code, said.err) == (0, "")
    assert "grant/g" in said.out
    assert "1 PolicyTest beside it" in said.out
    as_json = cli("policy", "validate", str(grant), "--json").json
    assert (as_json["valid"], as_json["documents"], as_json["tests"], as_json["errors"]) == (True, ["grant/g"], 1, [])
    (grant / "g.yaml").write_text(LIMIT)
    assert "default deny" in cli("policy", "validate", str(grant)).out


def test_every_mistake_is_told_with_its_file_and_line(cli: Cli, grant: Path) -> None:
    broken = GRANT.replace("confidence > 0.5", "confidense > 0.5")
    (grant / "g.yaml").write_text(f"{broken}---\n{LIMIT.replace('Limit', 'Limt')}")
    (grant / "h.yaml").write_text(LIMIT + "more: 1\n")
    (grant / "i.yaml").write_text("a: [1\n")
    (grant / "t.yaml").write_text(TEST.replace("verdict: deny", "verdict: denied"))
    said = cli("policy", "validate", str(grant), "--json")
    assert said.code == 2
    told = {each["place"].rpartition("/")[2]: each["message"] for each in said.json["errors"]}
    assert told.keys() == {"g.yaml:9", "g.yaml:12", "h.yaml:6", "i.yaml:2", "t.yaml:5"}
    assert 'did you mean "confidence"' in told["g.yaml:9"]
    for_people = cli("policy", "validate", str(grant))
    assert (for_people.code, for_people.err) == (2, "")
    assert for_people.out.count(str(grant)) == 5


def test_several_mistakes_of_one_document_are_several_for_a_script_too(cli: Cli, grant: Path) -> None:
    (grant / "g.yaml").write_text(LIMIT.replace("spec: {}", "spec:\n  autonomyy: bounded\n  zzz: 1"))
    told = cli("policy", "validate", str(grant), "--json").json["errors"]
    assert [each["place"].rpartition(":")[2] for each in told] == ["6", "7"]
    assert told[0]["message"] == 'spec.autonomyy: unknown key (did you mean "autonomy"?)'
    assert told[1]["message"].startswith("spec.zzz: unknown key (known here: approvals, autonomy, ")


def test_what_does_not_fit_together_is_a_mistake_too(cli: Cli, grant: Path) -> None:
    (grant / "h.yaml").write_text(GRANT)
    said = cli("policy", "validate", str(grant))
    assert said.code == 2
    assert "two documents are named grant/g" in said.out
    empty = grant / "empty"
    empty.mkdir()
    assert "no policy document here" in " ".join(cli("policy", "validate", str(empty)).out.split())
    assert cli("policy", "validate", str(grant / "nothing.yaml")).code == 2


def test_lint_says_nothing_of_what_is_only_valid(cli: Cli, grant: Path) -> None:
    said = cli("policy", "lint", str(grant))
    assert (said.code, said.out) == (0, "1 documents, 0 findings\n")


def test_documents_come_from_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def piped(text: str, *words: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        said = cli(*words)
        return said.code, said.out + said.err

    assert piped(LIMIT, "policy", "validate", "-")[0] == 0
    code, told = piped(LIMIT + "more: 1\n", "policy", "validate", "-")
    assert (code, "(standard input):6" in told) == (2, True)
    assert piped(GRANT, "policy", "graph", "-")[1].startswith("<svg ")


def test_a_graph_is_printed_or_written_whole(cli: Cli, grant: Path, tmp_path: Path) -> None:
    printed = cli("policy", "graph", str(grant))
    assert (printed.code, printed.err) == (0, "")
    assert printed.out.startswith("<svg ")
    assert printed.out.endswith("</svg>\n")
    to = tmp_path / "g.svg"
    assert cli("policy", "graph", str(grant), "--out", str(to)).out == ""
    assert to.read_text() == printed.out
    part = cli("policy", "graph", str(grant), "--focus", "service=chat,agent=remediator/litellm")
    assert "What this path comes to" in part.out
    wrong = cli("policy", "graph", str(grant), "--focus", "servce=chat")
    assert (wrong.code, 'did you mean "service"' in wrong.err) == (2, True)
    assert cli("policy", "graph", str(grant), "--out", str(tmp_path / "none" / "g.svg")).code == 2


def test_the_graph_of_what_is_in_force_comes_from_the_daemon(cli: Cli, served: Served) -> None:
    version = cli("policy", "show", "--json").json["version"]
    drawn = cli("policy", "graph")
    assert (drawn.code, version in drawn.out) == (0, True)
    assert cli("policy", "graph", "--version", version).out == drawn.out
    assert cli("policy", "graph", "pack:demo").out != drawn.out
    assert cli("policy", "graph", "--version", "active", "--focus", "nonsense=1").code == 2
    assert cli("policy", "graph", "--version", "sha256:none").code == 4
    assert cli("policy", "graph", "pack:demo", "--version", version).code == 2


def test_the_schema_is_printed_whole_or_of_one_kind(cli: Cli, tmp_path: Path) -> None:
    whole = json.loads(cli("policy", "schema").out)
    assert whole["$schema"].endswith("2020-12/schema")
    assert json.loads(cli("policy", "schema", "--kind", "Limit").out)["$ref"] == "#/$defs/Limit"
    assert cli("policy", "schema", "--kind", "Grand").code == 4
    to = tmp_path / "policy.schema.json"
    assert cli("policy", "schema", "-o", str(to)).code == 0
    assert json.loads(to.read_text()) == whole


def test_simulate_is_the_replay_under_another_policy(cli: Cli, grant: Path, tmp_path: Path) -> None:
    made = Past(a_policy(a_grant(minConfidence=0.5)))
    made.act(made.decide(0))
    export = str(made.export(tmp_path / "past"))
    said = cli("policy", "simulate", str(grant), "--export", export, "--json")
    replayed = cli("ledger", "replay", "--policy", str(grant), "--export", export, "--json")
    assert (said.code, said.json) == (11, replayed.json)
    assert cli("policy", "simulate", str(grant), "--export", export, "--fail-on", "wider").code == 0


def test_simulate_asks_a_live_daemon_too(cli: Cli, served: Served, grant: Path) -> None:
    said = cli("policy", "simulate", str(grant), "--since", "90d", "--fail-on", "none", "--json")
    assert (said.code, said.json["weighed"] > 0) == (0, True)


def test_who_made_what_active_and_why_is_told(cli: Cli, served: Served, grant: Path) -> None:
    before = cli("policy", "show", "--json").json["version"]
    assert cli("policy", "apply", str(grant), "-m", "fewer in the night").code == 0
    assert cli("policy", "rollback", before, "--reason", "it asked too often").out == f"in force: {before}\n"
    latest, applied, *_ = cli("policy", "history", "--json").json
    assert (latest["version"], latest["previous"], latest["why"]) == (before, applied["version"], "it asked too often")
    assert (applied["why"], applied["author"]) == ("fewer in the night", latest["author"])
    told = cli("policy", "history").out
    assert told.index("it asked too often") < told.index("fewer in the night")


def test_a_copied_pack_looks_for_its_schema_beside_itself(cli: Cli) -> None:
    printed = cli("policy", "packs", "demo", "rollout-1-triage").out
    assert printed.count("$schema=policy.schema.json") == 2
    assert "$schema=../" not in printed


def test_a_mistake_in_yaml_is_told_with_what_to_do(cli: Cli, tmp_path: Path) -> None:
    broken = tmp_path / "tab.yaml"
    broken.write_text("kind: Grant\nmetadata:\n\tname: x\n")
    said = cli("policy", "validate", str(broken))
    assert (said.code, "tab.yaml:3" in said.out, "YAML takes no tabs" in said.out) == (2, True, True)
