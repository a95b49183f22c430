"""`ledger prune`, `ledger archive` and `ledger verify --archive` as people type them."""

from __future__ import annotations

from pathlib import Path

from tests.testbed.faces import Served

from .conftest import Cli


def test_prune_asks_first_and_says_what_would_go(cli: Cli, served: Served) -> None:
    refused = cli("ledger", "prune")
    assert (refused.code, "no terminal to ask at" in refused.err) == (2, True)
    planned = cli("ledger", "prune", "--dry-run")
    assert (planned.code, planned.out) == (0, "No evidence is older than it is kept for.\n")
    assert cli("ledger", "prune", "--dry-run", "--json").json == {"kinds": [], "kept": 0, "dry": True}
    assert cli("ledger", "prune", "--yes", "--json").json == {"kinds": [], "kept": 0, "dry": False}


def test_pruning_of_entries_says_what_is_young(cli: Cli, served: Served) -> None:
    done = cli("ledger", "prune", "--entries", "--yes")
    assert (done.code, done.out[:37]) == (0, "No archived entry from before 2025-01")


def test_an_archive_is_made_and_verified_without_the_daemon(cli: Cli, served: Served, tmp_path: Path) -> None:
    assert "Nothing new fills a bundle of 256" in cli("ledger", "archive").out
    empty = cli("ledger", "archive", "--check")
    assert (empty.code, "THE ARCHIVE DOES NOT HOLD" in empty.out) == (10, True)
    unnamed = cli("ledger", "verify", "--archive", str(tmp_path / "archive"))
    assert (unnamed.code, "key that you remember" in unnamed.err) == (2, True)
    key = cli("ledger", "key").out.strip()
    told = cli("ledger", "verify", "--archive", str(tmp_path / "archive"), "--vkey", key, "--json")
    assert (told.code, told.json["problems"]) == (10, [{"where": "manifests/0.json", "code": "missing_object"}])
