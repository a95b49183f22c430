"""The conformance kit: what an adapter must show before it is registered, as plain functions for any test runner.

A clause takes an example (the adapter before a real or faithful target, a judge that reads the target by another way,
and a fault injector between the two) and one case. It raises ConformanceError with the rule that was broken.
It proves the cases it is given, not that there are enough of them: there must be one for every capability.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta

from watchkeeper.adapters.change import inverse
from watchkeeper.adapters.contract import EffectResult, Happened, Seen
from watchkeeper.adapters.kit import CLAIM, CORE_FAULTS, INCIDENT, RETRY_AFTER_S, Case, Example, Fault, nothing
from watchkeeper.core.actions import ActionKind, Change
from watchkeeper.core.errors import AdapterError, LedgerError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Effect

POLL_S = 0.1
"""How often the kit looks at a target that comes back in its own time."""


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
        _must(one.before == fields.get(one.path), f"{one.path}: `before` is what the target holds", one.before)
        _must(one.before != one.after, f"{one.path}: only what differs is in a change", one.after)


async def undo_restores_field_by_field(example: Example, case: Case) -> None:
    """Apply writes exactly its fields, and its inverse leaves everything as it was."""
    if not example.reversible(case):
        return
    former = dict(await example.judge.fields(case.action.target))
    change = await example.change(case)
    _must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    expected = former | {one.path: one.after for one in change.fields}
    now = dict(await example.judge.fields(case.action.target))
    _must(now == expected, "apply writes its fields and no other", now)
    _must((await example.apply(inverse(change), "undo")).effect is Effect.SUCCEEDED, "the undo succeeds")
    now = dict(await example.judge.fields(case.action.target))
    _must(now == former, "undo restores the exact former values, unset ones too", now)


async def what_restores_itself_is_watched(example: Example, case: Case) -> None:
    """A self-restoring change meets its postcondition by its deadline; one whose target does not come back is never
    said to be restored, and one that never was done is not either."""
    if example.capability(case).kind is not ActionKind.SELF_RESTORING:
        return
    change = await example.change(case)
    _must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    await _until(example, change, case.within_s)
    if case.stuck is None:
        return
    change = await example.change(await example.restart(case, change))
    async with case.stuck():
        result = await example.apply(change, "stuck")
        _must(result.effect is not Effect.FAILED, "it is done, though the target will not come back", result)
        seen = await _settled(example, change, case.within_s)
        _must(seen.restored is False, "a target that does not come back is reported", seen.restored)


async def a_declared_precondition_closes_the_window(example: Example, case: Case) -> None:
    """Where the target itself refuses a write after its state moved, a writer between look and send is safe."""
    if not example.capability(case).precondition or not case.disturbed:
        return
    change = await example.change(case)

    async def disturb() -> None:
        await example.judge.write(case.action.target, case.disturbed)

    example.sink.before_send = disturb
    try:
        result = await example.apply(change)
    finally:
        example.sink.before_send = nothing
    _must(result == EffectResult(effect=Effect.FAILED, code="changed"), "the target refuses the late write", result)
    now = await example.judge.fields(case.action.target)
    stands = {path: now.get(path) for path in case.disturbed}
    _must(stands == dict(case.disturbed), "the other writer's values stand", stands)


async def another_writer_is_not_overwritten(example: Example, case: Case) -> None:
    """Where somebody else wrote since, neither apply nor undo touches the target."""
    if not case.disturbed:
        return
    former, change = dict(await example.judge.fields(case.action.target)), await example.change(case)
    await example.judge.write(case.action.target, case.disturbed)
    effects = await example.judge.effects()
    result = await example.apply(change)
    _must(result == EffectResult(effect=Effect.FAILED, code="changed"), "apply refuses with `changed`", result)
    if example.reversible(case):
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
    for fault in _known(example, Fault.DROP_AFTER_EFFECT, Fault.TRUNCATED_AFTER_EFFECT, Fault.ERROR_AFTER_EFFECT):
        change = await example.change(case)
        with example.faults.meet(fault):
            result = await example.apply(change, f"apply/{fault}")
        _must(result.effect is Effect.UNKNOWN, f"{fault}: the effect is unknown", result)
        seen = await example.observe(change, f"apply/{fault}")
        _must(seen is Happened.YES, f"{fault}: observe says yes", seen)
        case = await example.restart(case, change)


async def what_was_not_done_is_observed_as_no(example: Example, case: Case) -> None:
    """An unreadable answer, with nothing carried out, is unknown; once nothing can land any more, observe says no."""
    change, effects = await example.change(case), await example.judge.effects()
    for fault in _known(example, Fault.GARBAGE, Fault.ERROR):
        with example.faults.meet(fault):
            try:
                result = await example.apply(change, f"apply/{fault}")
            except AdapterError as error:
                _must(example.faults.greets, f"{fault}: what may have been sent is no error", error)
                continue
        _must(result.effect is not Effect.SUCCEEDED, f"{fault}: nothing succeeded", result)
        example.clock.advance(example.settle_s)
        seen = await example.observe(change, f"apply/{fault}")
        _must(seen is Happened.NO, f"{fault}: observe says no", seen)
    _must(await example.judge.effects() == effects, "nothing was written")


async def a_late_call_is_not_a_no(example: Example, case: Case) -> None:
    """While a call that we gave up may still land, observe does not say that it did not happen."""
    change = await example.change(case)
    with example.faults.meet(Fault.HELD):
        result = await example.apply(change, within_s=example.reply_s)
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

    async def five_seconds() -> None:
        example.clock.advance(5)

    example.sink.before_send = five_seconds
    try:
        result = await example.apply(change, within_s=5)
    finally:
        example.sink.before_send = nothing
    _must(result == late, "the deadline is read again right before the send", result)
    _must(await example.judge.effects() == effects, "nothing was written")


async def authority_is_asked_last(example: Example, case: Case) -> None:
    """What is taken away while the target is looked at, or while the request is recorded, holds back the send."""
    change, effects = await example.change(case), await example.judge.effects()
    stands = [True]

    async def taken_away() -> None:
        stands.clear()

    async def may_send() -> bool:
        return bool(stands)

    example.sink.before_send = taken_away
    try:
        result = await example.apply(change, may_send=may_send)
    finally:
        example.sink.before_send = nothing
    lost = EffectResult(effect=Effect.FAILED, code="authority_lost")
    _must(result == lost, "authority is asked for right before the send", result)
    _must(await example.judge.effects() == effects, "nothing was written")


async def errors_fit_the_tree(example: Example, case: Case) -> None:
    """What was surely not done raises AdapterError, retryable where waiting helps, with a cause and a next step."""
    change, effects = await example.change(case), await example.judge.effects()
    expected = {Fault.DOWN: True, Fault.GARBAGE: True, Fault.ERROR: True, Fault.UNAUTHORIZED: False}
    for fault in _known(example, *expected):
        retryable = expected[fault]
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

        async def begins() -> None:
            fault_is_on.enter_context(example.faults.meet(fault, writes_only=False))

        example.sink.before_send = begins
        try:
            return await _raised(example.apply(change), f"apply under {fault}")
        finally:
            example.sink.before_send = nothing


async def a_rate_limit_is_respected(example: Example, case: Case) -> None:
    """After a 429 nothing is sent before the time that the target asked for has passed."""
    if Fault.RATE_LIMITED not in example.faults.known:
        return
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
        for fault in _known(example, Fault.UNAUTHORIZED, Fault.DOWN, Fault.GARBAGE, Fault.ERROR):
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
    what_restores_itself_is_watched,
    a_declared_precondition_closes_the_window,
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
    """There is a case for each capability, each says what it needs, and was tested against what it says."""
    cases = {(case.action.target.kind, case.action.intent): case for case in example.cases}
    _must(example.faults.known >= CORE_FAULTS, "the injector can do what every protocol has", example.faults.known)
    for capability in example.adapter.capabilities():
        what = f"{capability.intent} on {capability.target_kind}"
        case = cases.get((capability.target_kind, capability.intent))
        if case is None:
            raise ConformanceError(f"{what}: every capability has a case")
        _must(bool(capability.permissions), f"{what}: names its permissions")
        _must(capability.tested is example.against, f"{what}: was tested against {example.against}", capability.tested)
        if capability.kind is ActionKind.IRREVERSIBLE:
            _must(case.again is not None, f"{what}: has a fresh target for each effect")
        if capability.kind is ActionKind.SELF_RESTORING:
            _must(case.stuck is not None, f"{what}: knows a target that does not come back")


def _known(example: Example, *faults: Fault) -> tuple[Fault, ...]:
    return tuple(fault for fault in faults if fault in example.faults.known)


async def _until(example: Example, change: Change, within_s: float) -> None:
    """Real time: the target's own clock, not the adapter's, decides when it is back."""
    ends = asyncio.get_running_loop().time() + within_s
    while (seen := await example.seen(change)).restored is not True:
        _must(asyncio.get_running_loop().time() < ends, "the postcondition is met by its deadline", seen)
        await asyncio.sleep(POLL_S)
    _must(seen.happened is Happened.YES, "what is restored has happened", seen.happened)


async def _settled(example: Example, change: Change, within_s: float) -> Seen:
    """The first reading after the effect that is sure of it."""
    ends = asyncio.get_running_loop().time() + within_s
    while (seen := await example.seen(change, "stuck")).happened is not Happened.YES:
        _must(asyncio.get_running_loop().time() < ends, "the effect is observed", seen)
        await asyncio.sleep(POLL_S)
    return seen


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
