"""`watchkeeper witness`, and what `watchkeeper ledger` says of witnesses and policies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Cli
from tests.testbed.faces import Served
from tests.testbed.witnesses import NAME

from watchkeeper.ledger.cosigning.cosignature import CosignerKey, CosigningKey
from watchkeeper.ledger.signing.keys import SigningKey

LOG = SigningKey.generate("log.example.com/test").verifier.vkey


def test_a_key_is_made_once_and_shown_as_the_vkey_that_others_write_down(cli: Cli, tmp_path: Path) -> None:
    data = str(tmp_path / "w")
    made = cli("witness", "keygen", "--data", data, "--name", NAME)
    assert made.code == 0
    assert CosignerKey.from_vkey(made.out).name == NAME
    assert cli("witness", "key", "--data", data).out == made.out
    assert cli("witness", "key", "--data", data, "--json").json == {"vkeys": [made.out.strip()]}
    again = cli("witness", "keygen", "--data", data, "--name", NAME)
    assert (again.code, "it exists already" in again.err) == (2, True)


def test_a_post_quantum_key_comes_besides(cli: Cli, tmp_path: Path) -> None:
    made = cli("witness", "keygen", "--data", str(tmp_path), "--name", NAME, "--ml-dsa-44")
    assert [CosignerKey.from_vkey(line).kind for line in made.out.splitlines()] == [0x04, 0x06]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--log", LOG), "cannot read the witness's key"),
        (("--log", "nonsense"), "cannot read the file"),
        (("--log", LOG[:-4]), "verifier key"),
        (("--log", LOG, "--listen", "somewhere"), "is not HOST:PORT"),
        (("--log", LOG, "--listen", "127.0.0.1:99999"), "is not HOST:PORT"),
    ],
    ids=["no key", "no log", "cut vkey", "no port", "no such port"],
)
def test_a_witness_that_cannot_serve_says_why(cli: Cli, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ended = cli("witness", "serve", "--data", str(tmp_path), *words)
    assert (ended.code, said in " ".join(ended.err.split())) == (2, True), ended.err


def test_a_witness_keeps_its_name(cli: Cli, tmp_path: Path) -> None:
    cli("witness", "keygen", "--data", str(tmp_path), "--name", NAME)
    (tmp_path / "logs").write_text(f"# the logs\n{LOG}\n\n")
    logs = str(tmp_path / "logs")
    ended = cli("witness", "serve", "--data", str(tmp_path), "--log", logs, "--name", "other.example")
    assert (ended.code, "a witness keeps its name" in ended.err) == (2, True)


def test_without_witnesses_the_status_says_so(cli: Cli, served: Served) -> None:
    said = cli("ledger", "witness", "status")
    assert (said.code, "No witness is set" in said.out, "no policy is set" in said.out) == (0, True, True)
    assert cli("ledger", "witness", "status", "--json").json["quorum"] == "no_policy"
    assert cli("ledger", "checkpoint", "--cosigned").code == 4


def test_a_policy_that_no_checkpoint_meets_does_not_verify(cli: Cli, served: Served, tmp_path: Path) -> None:
    policy, anchor = tmp_path / "policy", tmp_path / "anchor"
    policy.write_text(f"witness w {CosigningKey.generate(NAME).public.vkey}\nquorum w\n")
    said = cli("ledger", "verify", "--policy", str(policy))
    assert (said.code, "policy: no_quorum" in said.out) == (10, True)
    assert cli("ledger", "verify", "--policy", str(policy), "--json").json["rollback"] == "not_excluded"
    anchor.write_text(cli("ledger", "checkpoint").out)
    assert cli("ledger", "verify", "--policy", str(policy), "--anchor", str(anchor)).code == 2
    policy.write_text("quorum none\n")
    said = cli("ledger", "verify", "--policy", str(policy))
    assert (said.code, "rollback excluded" in said.out) == (0, True), said
    policy.write_text("quorum w\n")
    said = cli("ledger", "verify", "--policy", str(policy))
    assert (said.code, f"{policy}:1" in said.err) == (2, True)


def test_config_check_finds_a_policy_that_the_witnesses_cannot_meet(cli: Cli, tmp_path: Path) -> None:
    policy, settings = tmp_path / "policy", tmp_path / "watchkeeper.yaml"
    asked, other = CosigningKey.generate(NAME).public.vkey, CosigningKey.generate("other.example").public.vkey
    policy.write_text(f"witness w {asked}\nwitness o {other}\ngroup g all w o\nquorum g\n")
    witnesses = [{"name": "w", "url": "https://w.example", "vkey": asked}]
    ledger = {"witnesses": witnesses, "policy_file": str(policy)}
    settings.write_text(json.dumps({"data_dir": str(tmp_path), "ledger": ledger}))
    said = cli("config", "check", "--config", str(settings))
    assert (said.code, "the policy counts on others: o" in " ".join(said.out.split())) == (2, True), said
    policy.write_text(policy.read_text().replace("all w o", "any w o"))
    assert cli("config", "check", "--config", str(settings)).code == 0
