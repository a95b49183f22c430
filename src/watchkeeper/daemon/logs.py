"""Structured logs: JSON lines for machines or short lines for a terminal, bound to incident, plan and action ids.

What libraries log (asyncio, uvicorn) passes the same processors, from warnings upwards. Known secrets are
masked in every event, whatever key they come under; this is the last net, not the first.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterable
from typing import TextIO, cast

import structlog
from pydantic import SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from watchkeeper.daemon.settings import LogSettings

MASK = "[secret]"


class Unfailing:
    """Standard error, for those who must go on when it cannot be written: on a full disk a line is lost, no work."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure(settings: LogSettings, secrets: Iterable[SecretStr]) -> None:
    renderer: Processor = (
        structlog.processors.JSONRenderer() if settings.json_lines else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask(secrets),
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.level.upper())),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, Unfailing())),
        cache_logger_on_first_use=False,
    )
    _take_in_libraries(shared, renderer)


def _take_in_libraries(shared: list[Processor], renderer: Processor) -> None:
    """httpx logs every URL at INFO: that does not belong in our stream."""
    handler = logging.StreamHandler(Unfailing())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)


def mask(secrets: Iterable[SecretStr]) -> Processor:
    """A processor that replaces every known secret of at least 6 characters in every value, however deep."""
    values = sorted({s.get_secret_value() for s in secrets if len(s.get_secret_value()) >= 6}, key=len, reverse=True)

    def processor(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        return {key: _clean(value) for key, value in event.items()}

    def _clean(value: object) -> object:
        match value:
            case str():
                for secret in values:
                    value = value.replace(secret, MASK)
                return value
            case dict():
                return {_clean(key): _clean(item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [_clean(item) for item in value]
            case None | bool() | int() | float():
                return value
            case _:
                return _clean(str(value))

    return processor
