"""What a clause says when it does not hold, and what several clauses share."""

from __future__ import annotations

from collections.abc import Awaitable

from watchkeeper.adapters.kit import Example, Fault
from watchkeeper.core.errors import AdapterError


class ConformanceError(AssertionError):
    """A clause does not hold."""


def must(holds: bool, rule: str, seen: object = "") -> None:
    if not holds:
        raise ConformanceError(f"{rule}{f' (seen: {seen})' if seen != '' else ''}")


def known(example: Example, *faults: Fault) -> tuple[Fault, ...]:
    return tuple(fault for fault in faults if fault in example.faults.known)


async def raised(call: Awaitable[object], what: str) -> AdapterError:
    try:
        result = await call
    except AdapterError as error:
        return error
    except (TimeoutError, OSError, RuntimeError, ValueError) as error:
        raise ConformanceError(f"{what}: an AdapterError is raised, not {type(error).__name__}") from error
    raise ConformanceError(f"{what}: an AdapterError is raised (seen: {result})")


def check_error(error: AdapterError, retryable: bool, what: str) -> None:
    must(error.retryable is retryable, f"{what}: retryable is {retryable}", error)
    must(bool(error.cause and error.next_step), f"{what}: names a cause and a next step", error)
