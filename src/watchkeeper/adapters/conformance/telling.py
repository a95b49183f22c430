"""What is told of a call: errors that help, a record of each write, and never the credential."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable
from contextlib import ExitStack
from datetime import timedelta

from watchkeeper.adapters.conformance.rules import ConformanceError, check_error, known, must, raised
from watchkeeper.adapters.kit import CLAIM, INCIDENT, Case, Example, Fault, nothing
from watchkeeper.core.actions import Change
from watchkeeper.core.errors import AdapterError, LedgerError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect


async def errors_fit_the_tree(example: Example, case: Case) -> None:
    """What was surely not done raises AdapterError, retryable where waiting helps, with a cause and a next step."""
    change, effects = await example.change(case), await example.judge.effects()
    expected = {Fault.DOWN: True, Fault.GARBAGE: True, Fault.ERROR: True, Fault.UNAUTHORIZED: False}
    for fault in known(example, *expected):
        retryable = expected[fault]
        with example.faults.meet(fault, writes_only=False):
            error = await raised(example.adapter.inspect(case.action.target), f"inspect under {fault}")
        check_error(error, retryable, f"inspect under {fault}")
        if fault in (Fault.DOWN, Fault.UNAUTHORIZED):
            error = await _refused_write(example, change, fault)
            check_error(error, retryable, f"apply under {fault}")
    must(await example.judge.effects() == effects, "nothing was written")


async def _refused_write(example: Example, change: Change, fault: Fault) -> AdapterError:
    """The fault begins after the adapter's last look, right before its send."""
    with ExitStack() as fault_is_on:

        async def begins() -> None:
            fault_is_on.enter_context(example.faults.meet(fault, writes_only=False))

        example.sink.before_send = begins
        try:
            return await raised(example.apply(change), f"apply under {fault}")
        finally:
            example.sink.before_send = nothing


async def every_write_is_recorded(example: Example, case: Case) -> None:
    """One CALL with the claim for each write; what cannot be recorded before the send is not sent."""
    change, effects = await example.change(case), await example.judge.effects()
    await raised(
        example.adapter.apply(change, ActionKey("k"), example.clock.now() + timedelta(seconds=5)),
        "apply without a claim",
    )
    example.sink.refuse = "begin"
    try:
        await example.apply(change)
        raise ConformanceError("a call that cannot be recorded is refused")
    except LedgerError:
        must(await example.judge.effects() == effects, "what cannot be recorded is not sent")
    finally:
        example.sink.refuse = ""
    known = len(example.sink.calls)
    must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    written = [call for call in example.sink.calls[known:] if call.claim == CLAIM and call.incident == INCIDENT]
    must(any(call.result == "ok" for call in written), "the write is recorded under its claim", written)
    case = await example.restart(case, change)
    change = await example.change(case)
    example.sink.refuse = "finish"
    try:
        result = await example.apply(change, "again")
        raise ConformanceError(f"a write that cannot be recorded afterwards is an error, not {result}")
    except LedgerError:
        return
    finally:
        example.sink.refuse = ""


async def the_credential_never_leaks(example: Example, case: Case) -> None:
    """Not into logs, errors, or records, whatever the target does."""
    handler = _Lines()
    logger = logging.getLogger()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    texts: list[str] = []
    try:
        for fault in known(example, Fault.UNAUTHORIZED, Fault.DOWN, Fault.GARBAGE, Fault.ERROR):
            with example.faults.meet(fault, writes_only=False):
                texts.append(await _text_of(example.adapter.inspect(case.action.target)))
        change = await example.change(case)
        with example.faults.meet(Fault.UNAUTHORIZED):
            texts.append(await _text_of(example.apply(change)))
        texts.append(await _text_of(example.apply(change)))
        texts.append(repr(example.adapter))
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
    must(not any(example.secret in text for text in texts), "no error shows the credential")
    must(not any(example.secret in line for line in handler.lines), "no log line shows the credential")
    secret = example.secret.encode()
    must(not any(secret in body for body in example.sink.bodies), "no record holds the credential")


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def _text_of(call: Awaitable[object]) -> str:
    """All that a person could see of the call: its result, or its error with everything behind it."""
    try:
        return repr(await call)
    except Exception as error:
        shown = error.diagnostics() if isinstance(error, AdapterError) else ""
        return "".join(traceback.format_exception(error)) + shown
