"""Keys without a daemon: making one, and giving the log another."""

from __future__ import annotations

from pathlib import Path

import pytest

from watchkeeper.daemon.home import KEY_FILE, PREVIOUS_KEY_FILE, Home
from watchkeeper.ledger.signing.keys import create_key, load_key

from .conftest import Cli

ORIGIN = "watchkeeper.example.com/log"


def settings_of(tmp_path: Path, more: str = "") -> Path:
    file = tmp_path / "wk.yaml"
    file.write_text(f"data_dir: {tmp_path / 'data'}\nledger:\n  origin: {ORIGIN}\n{more}")
    return file


def test_keygen_makes_a_private_file_and_tells_the_verifier_key(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "new.key"
    said = cli("ledger", "keygen", "--origin", ORIGIN, str(file))
    assert (said.code, said.out.strip()) == (0, load_key(file, ORIGIN).verifier.vkey)
    assert file.stat().st_mode & 0o777 == 0o600
    assert cli("ledger", "keygen", "--origin", ORIGIN, str(file)).code == 2, "a key is never overwritten"
    assert cli("ledger", "keygen", "--origin", "no good", str(tmp_path / "x")).code == 2
    assert not (tmp_path / "x").exists()


def test_rotate_key_works_on_a_stopped_daemon_s_directory(cli: Cli, tmp_path: Path) -> None:
    config = settings_of(tmp_path)
    assert cli("ledger", "rotate-key", "--config", str(config)).code == 4, "there is no key yet"
    home = tmp_path / "data"
    assert not home.exists(), "a refused rotation makes nothing"
    home.mkdir()
    old = create_key(home / KEY_FILE, ORIGIN).verifier
    said = cli("ledger", "rotate-key", "--config", str(config), "--json")
    assert said.json == {"previous": old.vkey, "following": load_key(home / KEY_FILE, ORIGIN).verifier.vkey}
    assert load_key(home / PREVIOUS_KEY_FILE, ORIGIN).verifier == old
    assert "start the daemon" in cli("ledger", "rotate-key", "--config", str(config)).out


def test_rotate_key_takes_the_data_directory_that_every_command_takes(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "elsewhere"
    home.mkdir()
    monkeypatch.setenv("WATCHKEEPER_LEDGER__ORIGIN", ORIGIN)
    old = create_key(home / KEY_FILE, ORIGIN).verifier
    said = cli("--data-dir", str(home), "ledger", "rotate-key", "--json")
    assert said.json["previous"] == old.vkey
    assert not (tmp_path / "var").exists()


def test_rotate_key_refuses_while_a_daemon_runs(cli: Cli, tmp_path: Path) -> None:
    config = settings_of(tmp_path)
    running = Home(tmp_path / "data")
    running.open()
    create_key(tmp_path / "data" / KEY_FILE, ORIGIN)
    try:
        assert cli("ledger", "rotate-key", "--config", str(config)).code == 5
    finally:
        running.close()
    assert not (tmp_path / "data" / PREVIOUS_KEY_FILE).exists()


def test_config_check_tells_whose_key_it_is(cli: Cli, tmp_path: Path) -> None:
    old, new = (create_key(tmp_path / name, ORIGIN).verifier for name in ("old", "new"))
    more = f"  signing_key_file: {tmp_path / 'new'}\n  previous_key_path: {tmp_path / 'old'}\n"
    said = cli("config", "check", "--config", str(settings_of(tmp_path, more)), "--json")
    (told,) = (each["detail"] for each in said.json["checks"] if each["name"] == "signing key")
    assert told == f"{new.vkey}, handed over from key {old.key_id.hex()}"
    more += f"  signing_key_path: {tmp_path / 'new'}\n"
    assert cli("config", "check", "--config", str(settings_of(tmp_path, more))).code == 2
