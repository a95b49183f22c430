"""Known secrets are masked in every event, whatever key or traceback they come under."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from watchkeeper.daemon.logs import MASK, configure, mask
from watchkeeper.daemon.settings import LogSettings

KEY = SecretStr("sk-very-secret-1")


def test_known_secrets_are_masked_wherever_they_are(capsys: pytest.CaptureFixture[str]) -> None:
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


def test_the_level_is_kept_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(level="warning"), ())
    structlog.get_logger("test").info("quiet")
    structlog.get_logger("test").warning("loud")
    assert [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()] == ["loud"]


def test_what_libraries_log_is_as_structured_and_as_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(), (KEY,))
    with structlog.contextvars.bound_contextvars(incident="inc_1"):
        try:
            raise RuntimeError("refused: sk-very-secret-1")
        except RuntimeError:
            logging.getLogger("some.library").exception("job %s failed", "sk-very-secret-1")
        logging.getLogger("httpx").info("GET http://g/?key=sk-very-secret-1")
    (event,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert "sk-very-secret-1" not in json.dumps(event)
    assert event["event"] == f"job {MASK} failed"
    assert f"RuntimeError: refused: {MASK}" in event["exception"]
    assert (event["logger"], event["level"], event["incident"]) == ("some.library", "error", "inc_1")
    assert "timestamp" in event


async def test_what_asyncio_tells_of_a_lost_task_is_masked(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(), (KEY,))
    asyncio.get_running_loop().call_exception_handler(
        {"message": "Task exception was never retrieved", "exception": RuntimeError("sk-very-secret-1")}
    )
    (event,) = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (event["logger"], event["level"]) == ("asyncio", "error")
    assert "sk-very-secret-1" not in json.dumps(event)


def test_on_a_terminal_libraries_log_short_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(json_lines=False), (KEY,))
    logging.getLogger("some.library").error("cannot bind sk-very-secret-1")
    (line,) = capsys.readouterr().err.splitlines()
    assert f"cannot bind {MASK}" in line
    assert "some.library" in line


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_log_that_cannot_be_written_stops_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with io.TextIOWrapper(io.FileIO(descriptor, "w"), line_buffering=True, write_through=True) as full:
        monkeypatch.setattr("sys.stderr", full)
        configure(LogSettings(), ())
        structlog.get_logger("test").error("acting_stopped")
        logging.getLogger("uvicorn.error").error("no room")
        with pytest.raises(OSError, match="No space left"):
            full.write("it is full\n")
