"""What is written: exactly the fields of the change, once, and never over another writer."""

from __future__ import annotations

from watchkeeper.adapters.change import inverse
from watchkeeper.adapters.conformance.rules import must
from watchkeeper.adapters.contract import EffectResult
from watchkeeper.adapters.kit import Case, Example, nothing
from watchkeeper.core.outcomes import Effect


async def precheck_refuses_what_cannot_be_done(example: Example, case: Case) -> None:
    """A missing target, and one that cannot be managed, is named with what to change; a good one passes."""
    found = await example.adapter.precheck(case.action)
    must(found.ok, "a manageable target passes precheck", found.problems)
    gone = await example.adapter.precheck(case.elsewhere)
    must(not gone.ok, "a missing target is refused")
    for refused in example.refused:
        answer = await example.adapter.precheck(refused.action)
        codes = [problem.code for problem in answer.problems]
        must(refused.code in codes, f"{refused.code} is refused by name", codes)
        must(all(problem.fix for problem in answer.problems), "each problem says what to change", answer.problems)


async def dry_run_changes_nothing(example: Example, case: Case) -> None:
    """It tells the values before and after, and writes nothing."""
    fields, effects = await example.judge.fields(case.action.target), await example.judge.effects()
    change = await example.change(case)
    must(await example.judge.fields(case.action.target) == fields, "a dry run leaves the fields alone")
    must(await example.judge.effects() == effects, "a dry run writes nothing")
    must(bool(change.fields), "a change names its fields")
    for one in change.fields:
        must(one.before == fields.get(one.path), f"{one.path}: `before` is what the target holds", one.before)
        must(one.before != one.after, f"{one.path}: only what differs is in a change", one.after)


async def undo_restores_field_by_field(example: Example, case: Case) -> None:
    """Apply writes exactly its fields, and its inverse leaves everything as it was."""
    if not example.reversible(case):
        return
    former = dict(await example.judge.fields(case.action.target))
    change = await example.change(case)
    must((await example.apply(change)).effect is Effect.SUCCEEDED, "apply succeeds")
    expected = former | {one.path: one.after for one in change.fields}
    now = dict(await example.judge.fields(case.action.target))
    must(now == expected, "apply writes its fields and no other", now)
    must((await example.apply(inverse(change), "undo")).effect is Effect.SUCCEEDED, "the undo succeeds")
    now = dict(await example.judge.fields(case.action.target))
    must(now == former, "undo restores the exact former values, unset ones too", now)


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
    must(result == EffectResult(effect=Effect.FAILED, code="changed"), "the target refuses the late write", result)
    now = await example.judge.fields(case.action.target)
    stands = {path: now.get(path) for path in case.disturbed}
    must(stands == dict(case.disturbed), "the other writer's values stand", stands)


async def another_writer_is_not_overwritten(example: Example, case: Case) -> None:
    """Where somebody else wrote since, neither apply nor undo touches the target."""
    if not case.disturbed:
        return
    former, change = dict(await example.judge.fields(case.action.target)), await example.change(case)
    await example.judge.write(case.action.target, case.disturbed)
    effects = await example.judge.effects()
    result = await example.apply(change)
    must(result == EffectResult(effect=Effect.FAILED, code="changed"), "apply refuses with `changed`", result)
    if example.reversible(case):
        result = await example.apply(inverse(change), "undo")
        must(result == EffectResult(effect=Effect.FAILED, code="changed"), "undo refuses with `changed`", result)
    must(await example.judge.effects() == effects, "neither writes anything")
    now = dict(await example.judge.fields(case.action.target))
    must(now == former | dict(case.disturbed), "the other writer's values stand", now)


async def one_key_has_one_effect(example: Example, case: Case) -> None:
    """A second apply under the same key sees the first one's effect and sends nothing."""
    change, effects = await example.change(case), await example.judge.effects()
    for _ in range(2):
        result = await example.apply(change)
        must(result.effect is Effect.SUCCEEDED, "each call says that it is done", result)
    must(await example.judge.effects() == effects + 1, "the target was written once")
