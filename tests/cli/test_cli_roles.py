"""The commands about PostgreSQL's roles: what they print, and what `config check --connect` sees on a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.testbed.stores import ThreeRoles

from .conftest import Cli


def written(directory: Path, **database: str) -> str:
    file = directory / "wk.yaml"
    file.write_text(json.dumps({"data_dir": str(directory / "data"), "database": database}))
    return str(file)


def checks(cli: Cli, config: str) -> dict[str, Any]:
    said = cli("config", "check", "--config", config, "--connect", "--json")
    return {each["name"]: each for each in said.json["checks"]}


def test_the_printed_sql_holds_no_secret_and_needs_three_roles(cli: Cli, tmp_path: Path) -> None:
    config = written(tmp_path, url="postgresql+psycopg://u:very-secret@127.0.0.1:1/watch")
    said = cli("config", "roles", "--config", config, "--daemon", "wk", "--previous", "wk")
    assert said.code == 0
    assert "very-secret" not in said.out
    assert "CREATE ROLE watchkeeper_owner LOGIN;" in said.out
    assert "CREATE ROLE wk LOGIN" not in said.out
    assert "REASSIGN OWNED BY wk TO watchkeeper_owner;" in said.out
    assert cli("config", "roles", "--config", config, "--daemon", "x", "--pruner", "x").code == 2


def test_sqlite_has_no_roles_to_print(cli: Cli, tmp_path: Path) -> None:
    said = cli("config", "roles", "--config", written(tmp_path))
    assert said.code == 2
    assert "only a PostgreSQL database has roles" in said.err


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ({"owner_url": "postgresql+psycopg://o@h/d", "pruner_url": "postgresql+psycopg://p@h/d"}, "only PostgreSQL"),
        ({"url": "postgresql+psycopg://d@h/d", "owner_url": "postgresql+psycopg://o@h/d"}, "without pruner_url"),
    ],
)
def test_roles_that_do_not_make_sense_are_refused(
    cli: Cli, tmp_path: Path, database: dict[str, str], said: str
) -> None:
    refused = cli("config", "check", "--config", written(tmp_path, **database))
    assert refused.code == 2
    assert said in " ".join(refused.err.split())


@pytest.mark.peer
def test_check_says_what_each_role_may(cli: Cli, tmp_path: Path, three_roles: ThreeRoles) -> None:
    apart = written(tmp_path, **three_roles.settings)
    assert cli("config", "migrate", "--config", apart, "--json").json["guarding"] == "triggers_and_roles"
    found = checks(cli, apart)
    assert [found[f"database role ({part})"]["state"] for part in ("url", "pruner_url")] == ["ok", "ok"]

    daemon = three_roles.daemon.split("//")[1].split("@")[0]
    owner = three_roles.owner.replace("+psycopg", "")
    with psycopg.connect(owner) as tables:
        tables.execute(f"GRANT UPDATE ON ledger_entry TO {daemon}".encode())
    wide = checks(cli, apart)["database role (url)"]
    assert (wide["state"], "UPDATE on ledger_entry" in wide["warning"]) == ("warning", True)
    with psycopg.connect(owner) as tables:
        tables.execute(f"REVOKE INSERT ON ledger_entry FROM {daemon}".encode())
    lacks = checks(cli, apart)["database role (url)"]
    assert (lacks["state"], "lacks INSERT on ledger_entry" in lacks["error"]) == ("failed", True)

    alone = checks(cli, written(tmp_path, url=three_roles.owner))["database role (url)"]
    assert "triggers alone keep it from changing the ledger" in alone["warning"]
