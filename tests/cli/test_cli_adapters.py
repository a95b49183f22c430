"""What can be acted on, with which permissions: the generated page, the documents, and the question to a target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from watchkeeper.adapters.catalog import SYSTEMS
from watchkeeper.agents.manifest import REMEDIATED
from watchkeeper.cli import intents

from .conftest import Cli

PAGE = Path(__file__).parents[2] / "docs" / "intents.md"


def test_the_page_is_what_the_adapters_declare(cli: Cli) -> None:
    assert PAGE.read_text() == intents.page(SYSTEMS), "watchkeeper adapters matrix --markdown > docs/intents.md"
    said = cli("adapters", "matrix", "--json")
    assert {row["system"] for row in said.json} == set(REMEDIATED)
    assert all(row["permissions"] for row in said.json)


def test_the_matrix_fits_a_terminal_and_one_system_can_be_asked_for(cli: Cli) -> None:
    said = cli("adapters", "matrix", "--system", "litellm")
    assert max(map(len, said.out.splitlines())) <= 80
    assert "set_fallback" in said.out
    assert cli("adapters", "matrix", "--system", "litelm").code == 4


def test_a_kind_of_target_belongs_to_one_system_alone() -> None:
    """A policy names kinds without their systems: a Grant for one must not open another."""
    kinds = [kind for each in SYSTEMS for kind in each.kinds]
    assert sorted(kinds) == sorted(set(kinds))


@pytest.mark.parametrize("system", [each.name for each in SYSTEMS])
def test_every_capability_has_a_grant_that_names_its_permissions(system: str, cli: Cli) -> None:
    said = cli("adapters", "permissions", "--system", system)
    assert said.code == 0
    assert len(said.out.splitlines()) > 3


def test_the_grant_is_the_least_for_what_is_asked(cli: Cli, tmp_path: Path) -> None:
    asked = ("adapters", "permissions", "--system", "litellm", "--intents", "block")
    routes = json.loads(cli(*asked, "--json").json[0]["text"])["allowed_routes"]
    assert {"/key/block", "/key/unblock"} <= set(routes)
    assert not {"/key/update", "/team/update"} & set(routes)
    assert cli(*asked, "--out", str(tmp_path / "key.json")).code == 0
    assert "/key/block" in (tmp_path / "key.json").read_text()
    assert cli("adapters", "permissions", "--system", "litellm", "--intents", "reclaim_space").code == 2


def test_a_target_that_does_not_answer_is_told_and_an_unknown_one_is_refused(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "wk.yaml"
    gateway = "{name: main, base_url: 'http://127.0.0.1:9', admin_key: sk-very-secret-1}"
    file.write_text(f"data_dir: {tmp_path / 'data'}\ngateways: [{gateway}]\n")
    said = cli("adapters", "check", "--config", str(file))
    assert said.code == 8
    assert "litellm:main" in said.out
    assert "unreachable" in said.out
    assert "sk-very-secret-1" not in said.out + said.err
    assert cli("adapters", "check", "litellm:mein", "--config", str(file)).code == 4


def test_without_a_target_there_is_nothing_to_check(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "wk.yaml"
    file.write_text(f"data_dir: {tmp_path / 'data'}\n")
    said = cli("adapters", "check", "--config", str(file))
    assert (said.code, "no target is configured" in said.out) == (0, True)
