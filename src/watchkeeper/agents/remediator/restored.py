"""Whether what was restarted has come back: the postcondition of self-restoring steps, as their targets show it.

Reads only. It says nothing about the service level: a target that is back may serve nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from watchkeeper.adapters.contract import Registry
from watchkeeper.adapters.recorder import under
from watchkeeper.core.actions import ActionKind
from watchkeeper.core.errors import AdapterError
from watchkeeper.core.ids import ActionKey
from watchkeeper.core.outcomes import Recovery
from watchkeeper.core.plans import Plan

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Return:
    """Of one step. `back` None: its target did not say. `due`: by then it should have been back, in seconds after the
    effect."""

    step: int
    back: bool | None
    due_s: float


async def returns(adapters: Registry, plan: Plan, steps: Iterable[int]) -> tuple[Return, ...]:
    """The self-restoring ones of `steps`."""
    found = []
    for step in steps:
        action = plan.actions[step]
        capability = adapters.capability(action.target, action.intent)
        if capability is None or action.kind is not ActionKind.SELF_RESTORING:
            continue
        try:
            with under(incident=plan.incident):
                key = ActionKey(f"{plan.id}/{step}/verify")
                seen = await adapters.get(action.target.adapter).observe(plan.changes[step], key)
            back = seen.restored
        except AdapterError as error:
            log.warning("return_not_observed", target=str(action.target), what=error.what)
            back = None
        found.append(Return(step, back, capability.postcondition_s))
    return tuple(found)


def judged(recovery: Recovery, returned: Iterable[Return], after_s: float) -> Recovery:
    """`recovery` as the service level has it, unless something that was restarted is not back: overdue is not
    recovered, whatever the service level says; not yet due, or not known, is inconclusive."""
    for each in returned:
        if each.back:
            continue
        if each.back is False and after_s >= each.due_s:
            return Recovery.NOT_RECOVERED
        if recovery is Recovery.RECOVERED:
            recovery = Recovery.INCONCLUSIVE
    return recovery
