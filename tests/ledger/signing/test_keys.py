"""The signing key's file: made private, refused when exposed or foreign, never shown."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from watchkeeper.core.errors import ConfigError
from watchkeeper.ledger.signing.keys import SigningKey, check_origin, create_key, load_key

ORIGIN = "log.example.com/a"


def test_a_key_is_made_private_and_read_back(tmp_path: Path) -> None:
    made = create_key(tmp_path / "ledger.key", ORIGIN)
    assert stat.S_IMODE((tmp_path / "ledger.key").stat().st_mode) == 0o600
    assert load_key(tmp_path / "ledger.key", ORIGIN).verifier == made.verifier


def test_a_key_is_never_made_twice(tmp_path: Path) -> None:
    create_key(tmp_path / "ledger.key", ORIGIN)
    before = (tmp_path / "ledger.key").read_bytes()
    with pytest.raises(ConfigError, match="cannot make"):
        create_key(tmp_path / "ledger.key", ORIGIN)
    assert (tmp_path / "ledger.key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o604, 0o660, 0o620, 0o601, 0o666])
def test_an_exposed_key_is_refused(tmp_path: Path, mode: int) -> None:
    create_key(tmp_path / "ledger.key", ORIGIN)
    (tmp_path / "ledger.key").chmod(mode)
    with pytest.raises(ConfigError, match="read by others") as refused:
        load_key(tmp_path / "ledger.key", ORIGIN)
    assert f"{mode:04o}" in refused.value.cause


def test_a_key_of_another_log_is_refused(tmp_path: Path) -> None:
    create_key(tmp_path / "ledger.key", ORIGIN)
    with pytest.raises(ConfigError, match=r"for log\.example\.com/a"):
        load_key(tmp_path / "ledger.key", "log.example.com/b")
    assert check_origin(SigningKey.generate(ORIGIN), ORIGIN).name == ORIGIN


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_key(tmp_path / "none", ORIGIN)


def test_what_is_not_a_key_is_refused_and_never_shown() -> None:
    good = SigningKey.generate(ORIGIN).to_secret().get_secret_value()
    for bad in ("", "PRIVATE+KEY+x", good[:-2], good.replace("log.", "lag."), good.removeprefix("PRIVATE+KEY+")):
        with pytest.raises(ConfigError) as refused:
            SigningKey.from_secret(SecretStr(bad))
        assert good.split("+", 4)[-1][:20] not in refused.value.diagnostics()


def test_a_key_does_not_show_itself() -> None:
    key = SigningKey.generate(ORIGIN)
    secret = key.to_secret()
    assert secret.get_secret_value().split("+", 4)[-1] not in repr(key) + repr(secret) + str(key)
    assert SigningKey.from_secret(secret).verifier == key.verifier


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb"])
def test_a_name_that_no_note_can_carry_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a log"):
        SigningKey.generate(name)
