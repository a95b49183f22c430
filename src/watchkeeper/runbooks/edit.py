"""What a person may change of a proposed plan: parameters that its runbook offers, within the bounds it declares.

A number may lie between the `min` and `max` of its expression. Where one of them is not written, the proposed value
and what the target held before are the bound: an edit may do less than what was proposed, and more only as far as the
runbook itself would have gone. A limit that was unset before has no upper bound but the adapter's. Flags and names are
not edited. Pure; whether the edited plan may be carried out is asked anew of policy and of people.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from watchkeeper.core.actions import Action, Change
from watchkeeper.core.consents import PlanEdit
from watchkeeper.core.errors import InputError, suggest
from watchkeeper.core.model import Scalar
from watchkeeper.runbooks.model import CAUSE_KIND, Expression, Runbook


def edited(
    runbook: Runbook, actions: Sequence[Action], changes: Sequence[Change], edits: Iterable[PlanEdit]
) -> tuple[Action, ...]:
    """The actions with these parameters instead. Raises InputError for what the runbook does not offer."""
    made = list(actions)
    for edit in edits:
        if edit.step >= len(made):
            raise InputError(
                f"the plan has no step {edit.step}",
                place=f"{edit.step}.{edit.name}",
                next_step=f"its steps are 0 to {len(made) - 1}",
            )
        action = made[edit.step]
        parameters = dict(action.parameters)
        offered = _offered(runbook, action, edit.name) if edit.name in parameters else []
        if not offered:
            raise InputError(
                f"step {edit.step} has no parameter {edit.name!r}{suggest(edit.name, parameters)}",
                place=f"{edit.step}.{edit.name}",
                cause=f"the runbook {runbook.name} does not offer it here",
                next_step=f"what it offers: {', '.join(sorted(parameters))}",
            )
        former = next((field.before for field in changes[edit.step].fields if field.path == edit.name), None)
        parameters[edit.name] = _within(edit, offered, parameters[edit.name], former)
        made[edit.step] = action.model_copy(update={"parameters": tuple(sorted(parameters.items()))})
    return tuple(made)


def _offered(runbook: Runbook, action: Action, name: str) -> list[Expression]:
    """Every expression that may have given this parameter of this action; of several, those that can have this value.
    Where more than one can, an edit keeps to all of them."""
    specs = (
        spec
        for spec in runbook.spec.actions
        if spec.intent is action.intent and spec.target.kind in (action.target.kind, CAUSE_KIND)
    )
    every = [spec.parameters[name] for spec in specs if name in spec.parameters]
    return [each for each in every if _gives(each, dict(action.parameters)[name])] or every


def _gives(expression: Expression, value: Scalar) -> bool:
    """Whether it can have come to this value: a literal to itself alone, a source to what lies within its bounds."""
    if _not_a_number(value) or expression.value is None:
        least = -math.inf if expression.min is None else expression.min
        most = math.inf if expression.max is None else expression.max
        return _not_a_number(value) or least <= float(value or 0) <= most
    plain = expression.plus is None and not isinstance(expression.value, bool)
    return not plain or value == expression.value * expression.times


def _within(edit: PlanEdit, offered: Sequence[Expression], proposed: Scalar, former: Scalar) -> Scalar:
    place, wanted = f"{edit.step}.{edit.name}", edit.value
    whole = any(expression.round is not None for expression in offered)
    if _not_a_number(proposed) or _not_a_number(wanted):
        raise InputError(
            f"it cannot be set to {str(wanted)[:40]!r}",
            place=place,
            cause="only numbers are edited" if _not_a_number(proposed) else "a number is needed",
            next_step="reject the plan where another is meant",
        )
    least = max(_least(each, proposed, former) for each in offered)
    most = min(_most(each, proposed, former) for each in offered)
    assert isinstance(wanted, int | float)
    if not least <= wanted <= most or (whole and wanted != int(wanted)):
        bounds = f"at least {least:g}" if math.isinf(most) else f"{least:g} to {most:g}"
        raise InputError(
            f"it cannot be set to {wanted:g}",
            place=place,
            cause=f"the runbook's bounds here are {bounds}" + (", whole numbers" if whole else ""),
            next_step="choose a value within them, or reject the plan",
        )
    return int(wanted) if whole else wanted


def _least(expression: Expression, proposed: Scalar, former: Scalar) -> float:
    return expression.min if expression.min is not None else min(_numbers(proposed, former))


def _most(expression: Expression, proposed: Scalar, former: Scalar) -> float:
    if expression.max is not None:
        return expression.max
    return math.inf if former is None else max(_numbers(proposed, former))


def _numbers(*values: Scalar) -> list[float]:
    return [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def _not_a_number(value: Scalar) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    try:
        return not math.isfinite(value)
    except OverflowError:  # a whole number that no double can say
        return True
