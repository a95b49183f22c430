"""The conformance kit: what an adapter must show before it is registered, as plain functions for any test runner.

A clause takes an example (the adapter before a real or faithful target, a judge that reads the target by another way,
and a fault injector between the two) and one case. It raises ConformanceError with the rule that was broken.
It proves the cases it is given, not that there are enough of them: there must be one for every capability.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta

from watchkeeper.adapters.change import inverse
from watchkeeper.adapters.contract import EffectResult, Happened
from watchkeeper.adapters.kit import CLAIM, INCIDENT, RETRY_AFTER_S, Case, Example, Fault
from watchkeeper.core.actions import Change
from watchkeeper.core.errors import AdapterError, LedgerError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect


class ConformanceError(AssertionError):
    """A clause does not hold."""


Clause = Callable[[Example, Case], Awaitable[None]]


def _must(holds: bool, rule: str, seen: object = "") -> None:
    if not holds:
        raise ConformanceError(f"{rule}{f' (seen: {seen})' if seen != '' else ''}")


async def precheck_refuses_what_cannot_be_done(example: Example, case: Case) -> None:
    """A missing target, and one that cannot be managed, is named with what to change; a good one passes."""
    found = await example.adapter.precheck(case.action)
    _must(found.ok, "a manageable target passes precheck", found.problems)
    gone = await example.adapter.precheck(case.elsewhere)
    _must(not gone.ok, "a missing target is refused")
    for refused in example.refused:
        answer = await example.adapter.precheck(refused.action)
        codes = [problem.code for problem in answer.problems]
        _must(refused.code in codes, f"{refused.code} is refused by name", codes)
        _must(all(problem.fix for problem in answer.problems), "each problem says what to change", answer.problems)


async def dry_run_changes_nothing(example: Example, case: Case) -> None:
    """It tells the values before and after, and writes nothing."""
    fields, effects = await example.judge.fields(case.action.target), await example.judge.effects()
    change = await example.change(case)
    _must(await example.judge.fields(case.action.target) == fields, "a dry run leaves the fields alone")
    _must(await example.judge.effects() == effects, "a dry run writes nothing")
    _must(bool(change.fields), "a change names its fields")
    for one in change.fields:
        _must(one.before == fields[one.path], f"{one.path}: `before` is what the target holds", one.before)
        _must(one.before != one.after, f"{one.path}: only what differs is in a change", one.after)


async def undo_restores_field_by_field(example: Example, case: Case) -> None:
    """Apply writes exactly its fields, and its inverse leaves everything as it was."""
    former = dict(await example.judge.fields(case.action.target))
    change = await example.change(case)
    _must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    expected = former | {one.path: one.after for one in change.fields}
    now = dict(await example.judge.fields(case.action.target))
    _must(now == expected, "apply writes its fields and no other", now)
    _must((await example.apply(inverse(change), "undo")).effect is Effect.SUCCEEDED, "the undo succeeds")
    now = dict(await example.judge.fields(case.action.target))
    _must(now == former, "undo restores the exact former values, unset ones too", now)


async def another_writer_is_not_overwritten(example: Example, case: Case) -> None:
    """Where somebody else wrote since, neither apply nor undo touches the target."""
    if not case.disturbed:
        return
    former, change = dict(await example.judge.fields(case.action.target)), await example.change(case)
    await example.judge.write(case.action.target, case.disturbed)
    effects = await example.judge.effects()
    result = await example.apply(change)
    _must(result == EffectResult(effect=Effect.FAILED, code="changed"), "apply refuses with `changed`", result)
    result = await example.apply(inverse(change), "undo")
    _must(result == EffectResult(effect=Effect.FAILED, code="changed"), "undo refuses with `changed`", result)
    _must(await example.judge.effects() == effects, "neither writes anything")
    now = dict(await example.judge.fields(case.action.target))
    _must(now == former | dict(case.disturbed), "the other writer's values stand", now)


async def one_key_has_one_effect(example: Example, case: Case) -> None:
    """A second apply under the same key sees the first one's effect and sends nothing."""
    change, effects = await example.change(case), await example.judge.effects()
    for _ in range(2):
        result = await example.apply(change)
        _must(result.effect is Effect.SUCCEEDED, "each call says that it is done", result)
    _must(await example.judge.effects() == effects + 1, "the target was written once")


async def lost_reply_is_unknown_and_observe_settles_it(example: Example, case: Case) -> None:
    """A call that was carried out and not answered is unknown, never failed; observe finds it."""
    for number, fault in enumerate((Fault.DROP_AFTER_EFFECT, Fault.TRUNCATED_AFTER_EFFECT, Fault.ERROR_AFTER_EFFECT)):
        change = await example.change(case)
        with example.faults.meet(fault):
            result = await example.apply(change, f"apply/{number}")
        _must(result.effect is Effect.UNKNOWN, f"{fault}: the effect is unknown", result)
        seen = await example.observe(change, f"apply/{number}")
        _must(seen is Happened.YES, f"{fault}: observe says yes", seen)
        await example.judge.write(case.action.target, {one.path: one.before for one in change.fields})


async def what_was_not_done_is_observed_as_no(example: Example, case: Case) -> None:
    """An unreadable answer, with nothing carried out, is unknown; once nothing can land any more, observe says no."""
    change, effects = await example.change(case), await example.judge.effects()
    for number, fault in enumerate((Fault.GARBAGE, Fault.ERROR)):
        with example.faults.meet(fault):
            result = await example.apply(change, f"apply/{number}")
        _must(result.effect is not Effect.SUCCEEDED, f"{fault}: nothing succeeded", result)
        example.clock.advance(example.settle_s)
        seen = await example.observe(change, f"apply/{number}")
        _must(seen is Happened.NO, f"{fault}: observe says no", seen)
    _must(await example.judge.effects() == effects, "nothing was written")


async def a_late_call_is_not_a_no(example: Example, case: Case) -> None:
    """While a call that we gave up may still land, observe does not say that it did not happen."""
    change = await example.change(case)
    with example.faults.meet(Fault.HELD):
        result = await example.apply(change, within_s=0.1)
        _must(result.effect is not Effect.SUCCEEDED, "nothing succeeded yet", result)
        seen = await example.observe(change)
        _must(seen is not Happened.NO, "a held call may still land", seen)
    await example.faults.landed()
    seen = await example.observe(change)
    _must(seen is Happened.YES, "it landed late, and is seen", seen)


async def the_deadline_holds(example: Example, case: Case) -> None:
    """It is read again as the last thing before the send; what is late is not sent."""
    change, effects = await example.change(case), await example.judge.effects()
    late = EffectResult(effect=Effect.FAILED, code="deadline_passed")
    result = await example.apply(change, within_s=-1)
    _must(result == late, "nothing is sent after the deadline", result)
    example.sink.before_send = lambda: example.clock.advance(5)
    try:
        result = await example.apply(change, within_s=5)
    finally:
        example.sink.before_send = lambda: None
    _must(result == late, "the deadline is read again right before the send", result)
    _must(await example.judge.effects() == effects, "nothing was written")


async def authority_is_asked_last(example: Example, case: Case) -> None:
    """What is taken away while the target is looked at, or while the request is recorded, holds back the send."""
    change, effects = await example.change(case), await example.judge.effects()
    stands = [True]
    example.sink.before_send = stands.clear

    async def may_send() -> bool:
        return bool(stands)

    try:
        result = await example.apply(change, may_send=may_send)
    finally:
        example.sink.before_send = lambda: None
    lost = EffectResult(effect=Effect.FAILED, code="authority_lost")
    _must(result == lost, "authority is asked for right before the send", result)
    _must(await example.judge.effects() == effects, "nothing was written")


async def errors_fit_the_tree(example: Example, case: Case) -> None:
    """What was surely not done raises AdapterError, retryable where waiting helps, with a cause and a next step."""
    change, effects = await example.change(case), await example.judge.effects()
    expected = {Fault.DOWN: True, Fault.GARBAGE: True, Fault.ERROR: True, Fault.UNAUTHORIZED: False}
    for fault, retryable in expected.items():
        with example.faults.meet(fault, writes_only=False):
            error = await _raised(example.adapter.inspect(case.action.target), f"inspect under {fault}")
        _check_error(error, retryable, f"inspect under {fault}")
        if fault in (Fault.DOWN, Fault.UNAUTHORIZED):
            error = await _refused_write(example, change, fault)
            _check_error(error, retryable, f"apply under {fault}")
    _must(await example.judge.effects() == effects, "nothing was written")


async def _refused_write(example: Example, change: Change, fault: Fault) -> AdapterError:
    """The fault begins after the adapter's last look, right before its send."""
    with ExitStack() as fault_is_on:
        example.sink.before_send = lambda: fault_is_on.enter_context(example.faults.meet(fault, writes_only=False))
        try:
            return await _raised(example.apply(change), f"apply under {fault}")
        finally:
            example.sink.before_send = lambda: None


async def a_rate_limit_is_respected(example: Example, case: Case) -> None:
    """After a 429 nothing is sent before the time that the target asked for has passed."""
    change, effects = await example.change(case), await example.judge.effects()
    with example.faults.meet(Fault.RATE_LIMITED, writes_only=False):
        error = await _raised(example.apply(change), "apply when rate limited")
        _must(error.retryable and (error.retry_after_s or 0) >= RETRY_AFTER_S, "Retry-After is passed on", error)
        arrived = example.faults.arrived
        example.clock.advance(RETRY_AFTER_S - 0.01)
        await _raised(example.apply(change), "apply before Retry-After has passed")
        _must(example.faults.arrived == arrived, "nothing was sent before Retry-After had passed")
    example.clock.advance(RETRY_AFTER_S)
    _must((await example.apply(change)).effect is Effect.SUCCEEDED, "afterwards it is sent")
    _must(await example.judge.effects() == effects + 1, "and written once")


async def every_write_is_recorded(example: Example, case: Case) -> None:
    """One CALL with the claim for each write; what cannot be recorded before the send is not sent."""
    change, effects = await example.change(case), await example.judge.effects()
    await _raised(
        example.adapter.apply(change, ActionKey("k"), example.clock.now() + timedelta(seconds=5)),
        "apply without a claim",
    )
    example.sink.refuse = "begin"
    try:
        await example.apply(change)
        raise ConformanceError("a call that cannot be recorded is refused")
    except LedgerError:
        _must(await example.judge.effects() == effects, "what cannot be recorded is not sent")
    finally:
        example.sink.refuse = ""
    known = len(example.sink.calls)
    _must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    written = [call for call in example.sink.calls[known:] if call.claim == CLAIM and call.incident == INCIDENT]
    _must(any(call.result == "ok" for call in written), "the write is recorded under its claim", written)
    example.sink.refuse = "finish"
    try:
        result = await example.apply(inverse(change), "undo")
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
        for fault in (Fault.UNAUTHORIZED, Fault.DOWN, Fault.GARBAGE, Fault.ERROR):
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
    _must(not any(example.secret in text for text in texts), "no error shows the credential")
    _must(not any(example.secret in line for line in handler.lines), "no log line shows the credential")
    secret = example.secret.encode()
    _must(not any(secret in body for body in example.sink.bodies), "no record holds the credential")


CLAUSES: tuple[Clause, ...] = (
    precheck_refuses_what_cannot_be_done,
    dry_run_changes_nothing,
    undo_restores_field_by_field,
    another_writer_is_not_overwritten,
    one_key_has_one_effect,
    lost_reply_is_unknown_and_observe_settles_it,
    what_was_not_done_is_observed_as_no,
    a_late_call_is_not_a_no,
    the_deadline_holds,
    authority_is_asked_last,
    errors_fit_the_tree,
    a_rate_limit_is_respected,
    every_write_is_recorded,
    the_credential_never_leaks,
)


def covers_every_capability(example: Example) -> None:
    """There is a case for each capability, and each says what it needs."""
    known = {(case.action.target.kind, case.action.intent) for case in example.cases}
    for capability in example.adapter.capabilities():
        _must((capability.target_kind, capability.intent) in known, "every capability has a case", capability.intent)
        _must(bool(capability.permissions), "every capability names its permissions", capability.intent)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def _raised(call: Awaitable[object], what: str) -> AdapterError:
    try:
        result = await call
    except AdapterError as error:
        return error
    except (TimeoutError, OSError, RuntimeError, ValueError) as error:
        raise ConformanceError(f"{what}: an AdapterError is raised, not {type(error).__name__}") from error
    raise ConformanceError(f"{what}: an AdapterError is raised (seen: {result})")


async def _text_of(call: Awaitable[object]) -> str:
    """All that a person could see of the call: its result, or its error with everything behind it."""
    try:
        return repr(await call)
    except Exception as error:
        shown = error.diagnostics() if isinstance(error, AdapterError) else ""
        return "".join(traceback.format_exception(error)) + shown


def _check_error(error: AdapterError, retryable: bool, what: str) -> None:
    _must(error.retryable is retryable, f"{what}: retryable is {retryable}", error)
    _must(bool(error.cause and error.next_step), f"{what}: names a cause and a next step", error)
