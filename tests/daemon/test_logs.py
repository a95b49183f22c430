"""Known secrets are masked in every event, whatever key or traceback they come under."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog
from pydantic import SecretStr

from watchkeeper.daemon.logs import MASK, configure, mask
from watchkeeper.daemon.settings import LogSettings

KEY = SecretStr("sk-very-secret-1")


@pytest.fixture
def configured() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def test_known_secrets_are_masked_wherever_they_are(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(), (KEY,))
    log = structlog.get_logger("test").bind(incident="inc_1")
    try:
        raise RuntimeError("refused: sk-very-secret-1")
    except RuntimeError:
        log.exception("call_failed", url="http://g/?key=sk-very-secret-1", plan="pln_1")
    event = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert "sk-very-secret-1" not in json.dumps(event)
    assert event["url"] == f"http://g/?key={MASK}"
    assert f"refused: {MASK}" in event["exception"]
    assert (event["incident"], event["plan"], event["level"]) == ("inc_1", "pln_1", "error")


def test_secrets_inside_lists_and_mappings_are_masked() -> None:
    masked = mask((KEY,))(None, "info", {"event": "x", "tried": ["sk-very-secret-1"], "m": {"k": "a sk-very-secret-1"}})
    assert "sk-very-secret-1" not in str(masked)


def test_the_longer_secret_is_masked_first() -> None:
    masked = mask((SecretStr("abcdef"), SecretStr("abcdef-ghi")))(None, "info", {"event": "abcdef-ghi abcdef"})
    assert masked == {"event": f"{MASK} {MASK}"}


def test_the_level_is_kept_to(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(level="warning"), ())
    structlog.get_logger("test").info("quiet")
    structlog.get_logger("test").warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]
