"""Where the signing keys come from, and that rotating them leaves a startable state whatever happens."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from pydantic import SecretStr
from tests.testbed.ledgers import ORIGIN

from watchkeeper.core.entries import EntryType
from watchkeeper.core.errors import ConfigError, ConflictError, NotFoundError
from watchkeeper.daemon.compose import secrets_of
from watchkeeper.daemon.home import KEY_FILE, PREVIOUS_KEY_FILE
from watchkeeper.daemon.ledgersettings import LedgerSettings
from watchkeeper.daemon.life import Daemon, running
from watchkeeper.daemon.settings import ApiSettings, Settings, load
from watchkeeper.daemon.signing import Keys, given, keys, rotate
from watchkeeper.ledger.checks.verify import verify
from watchkeeper.ledger.reader import LogReader
from watchkeeper.ledger.signing.checkpoint import Checkpoint, sign_checkpoint
from watchkeeper.ledger.signing.keys import SigningKey, create_key

IN_HOME = LedgerSettings(origin=ORIGIN)
NOTE = Checkpoint(ORIGIN, 1, bytes(32))


def vkeys(found: Keys) -> tuple[str, str | None]:
    return found.current.verifier.vkey, None if found.previous is None else found.previous.verifier.vkey


def test_the_key_is_made_once_and_found_again(tmp_path: Path) -> None:
    made = keys(IN_HOME, tmp_path)
    assert vkeys(keys(IN_HOME, tmp_path)) == vkeys(made)
    assert (made.previous, given(IN_HOME)) == (None, None)


def test_a_key_may_come_from_a_secret_or_a_file(tmp_path: Path) -> None:
    secret, file = SigningKey.generate(ORIGIN), create_key(tmp_path / "old.key", ORIGIN)
    both = LedgerSettings(origin=ORIGIN, signing_key=secret.to_secret(), previous_key_path=tmp_path / "old.key")
    assert vkeys(keys(both, tmp_path)) == (secret.verifier.vkey, file.verifier.vkey)
    turned = LedgerSettings(
        origin=ORIGIN, signing_key_path=tmp_path / "old.key", previous_signing_key=secret.to_secret()
    )
    assert vkeys(keys(turned, tmp_path)) == (file.verifier.vkey, secret.verifier.vkey)
    assert not (tmp_path / KEY_FILE).exists(), "what is given is not made"


def test_secrets_are_given_as_files_too_and_never_twice(tmp_path: Path) -> None:
    secret = SigningKey.generate(ORIGIN)
    (tmp_path / "secret").write_text(secret.to_secret().get_secret_value() + "\n")
    settings = load(
        None,
        {"WATCHKEEPER_LEDGER__ORIGIN": ORIGIN, "WATCHKEEPER_LEDGER__SIGNING_KEY_FILE": str(tmp_path / "secret")},
    )
    assert vkeys(keys(settings.ledger, tmp_path))[0] == secret.verifier.vkey
    assert secrets_of(settings)[-1].get_secret_value() == secret.to_secret().get_secret_value()
    for name, path in (("SIGNING_KEY", "SIGNING_KEY_PATH"), ("PREVIOUS_SIGNING_KEY", "PREVIOUS_KEY_PATH")):
        with pytest.raises(ConfigError) as refused:
            load(
                None, {f"WATCHKEEPER_LEDGER__{name}_FILE": str(tmp_path / "secret"), f"WATCHKEEPER_LEDGER__{path}": "x"}
            )
        assert "given twice" in refused.value.diagnostics()
        assert secret.to_secret().get_secret_value() not in refused.value.diagnostics()


def test_a_key_of_another_log_is_refused() -> None:
    other = SigningKey.generate("log.example.com/other").to_secret()
    for settings in (
        LedgerSettings(origin=ORIGIN, signing_key=other),
        LedgerSettings(origin=ORIGIN, signing_key=SigningKey.generate(ORIGIN).to_secret(), previous_signing_key=other),
    ):
        with pytest.raises(ConfigError, match="the signing key is for"):
            given(settings)


def test_rotation_keeps_the_key_before(tmp_path: Path) -> None:
    first = keys(IN_HOME, tmp_path)
    made = rotate(IN_HOME, tmp_path, None)
    assert vkeys(made) == vkeys(keys(IN_HOME, tmp_path))
    assert made.previous is not None
    assert made.previous.verifier == first.current.verifier
    assert {path.name for path in tmp_path.iterdir()} == {KEY_FILE, PREVIOUS_KEY_FILE}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())


@pytest.mark.parametrize("fatal", range(4))
def test_a_crash_while_rotating_leaves_a_startable_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fatal: int
) -> None:
    """Dead before each change of the directory in turn: the old key is always still there, and a second try works."""
    old = keys(IN_HOME, tmp_path).current.verifier
    steps = iter(range(100))

    def deadly(real: object) -> object:
        def step(*args: object, **kwargs: object) -> object:
            if next(steps) == fatal:
                raise KeyboardInterrupt
            assert callable(real)
            return real(*args, **kwargs)

        return step

    with monkeypatch.context() as doomed:
        doomed.setattr(os, "link", deadly(os.link))
        doomed.setattr(Path, "replace", deadly(Path.replace))
        doomed.setattr(os, "fsync", deadly(os.fsync))
        with pytest.raises(KeyboardInterrupt):
            rotate(IN_HOME, tmp_path, None)
    assert old in {key.verifier for key in (keys(IN_HOME, tmp_path).current, keys(IN_HOME, tmp_path).previous) if key}
    newest = sign_checkpoint(NOTE, keys(IN_HOME, tmp_path).current)
    again = rotate(IN_HOME, tmp_path, newest)
    assert vkeys(keys(IN_HOME, tmp_path)) == vkeys(again)
    assert again.previous is not None


def test_a_rotation_that_is_not_recorded_yet_is_not_overwritten(tmp_path: Path) -> None:
    signed = sign_checkpoint(NOTE, keys(IN_HOME, tmp_path).current)
    made = rotate(IN_HOME, tmp_path, signed)
    with pytest.raises(ConflictError, match="not in the log yet"):
        rotate(IN_HOME, tmp_path, signed)
    assert vkeys(keys(IN_HOME, tmp_path)) == vkeys(made)
    third = rotate(IN_HOME, tmp_path, sign_checkpoint(NOTE, made.current))
    assert third.previous is not None
    assert third.previous.verifier == made.current.verifier


def test_rotation_needs_a_key_of_the_data_directory(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no"):
        rotate(IN_HOME, tmp_path, None)
    for settings in (
        LedgerSettings(origin=ORIGIN, signing_key=SecretStr("x")),
        LedgerSettings(origin=ORIGIN, signing_key_path=tmp_path / "x"),
    ):
        with pytest.raises(ConfigError, match="not kept in the data directory"):
            rotate(settings, tmp_path, None)


async def signed_by(daemon: Daemon, vkey: str) -> LogReader:
    """The log, once the daemon's own start is in it."""
    log = daemon.services().log
    async with asyncio.timeout(20):
        while (await log.pending()) or not (await log.size()):
            await asyncio.sleep(0.05)
    assert daemon.services().vkey == vkey
    return log


async def test_a_daemon_records_the_rotation_at_its_next_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api=ApiSettings(port=0), ledger=IN_HOME)
    first = keys(IN_HOME, tmp_path).current.verifier.vkey
    async with running(settings) as (daemon, _):
        newest = await (await signed_by(daemon, first)).checkpoint()
    second = rotate(IN_HOME, tmp_path, newest).current.verifier.vkey
    for _ in range(2):
        async with running(settings) as (daemon, _):
            log = await signed_by(daemon, second)
            found = await log.find(types=(EntryType.KEY_ROTATED,))
            assert [entry.envelope.data for entry in found] == [{"previous": first, "following": second}]
            for vkey in (first, second):
                assert (await verify(log, vkey)).ok
