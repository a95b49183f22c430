"""The data directory belongs to one daemon and its owner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from watchkeeper.cli.client import connect
from watchkeeper.core.errors import ConflictError
from watchkeeper.daemon.home import API_FILE, TOKEN_FILE, Home


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "var" / "wk"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_second_daemon_is_refused_until_the_first_ends(path: Path) -> None:
    first, second = Home(path), Home(path)
    first.open()
    with pytest.raises(ConflictError, match="another daemon uses"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_another_process_is_refused_too(path: Path) -> None:
    home = Home(path)
    home.open()
    code = (
        "import sys\nfrom pathlib import Path\nfrom watchkeeper.daemon.home import Home\nHome(Path(sys.argv[1])).open()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True, timeout=60
    )
    home.close()
    assert done.returncode != 0
    assert "another daemon uses" in done.stderr


def test_the_local_token_is_made_once_and_private(path: Path) -> None:
    home = Home(path)
    home.open()
    token = home.local_token()
    assert home.local_token() == token
    assert mode(path / TOKEN_FILE) == 0o600
    assert mode(path) == 0o700
    assert token.get_secret_value() not in repr(token)
    home.close()


def test_local_commands_find_the_daemon_by_its_directory(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WATCHKEEPER_API_URL", "WATCHKEEPER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    home = Home(path)
    home.open()
    home.local_token()
    home.announce("http://127.0.0.1:1")
    assert json.loads((path / API_FILE).read_text()) == {"url": "http://127.0.0.1:1", "pid": os.getpid()}
    client = connect(None, path)
    assert client.url == "http://127.0.0.1:1"
    client.close()
    home.close()
