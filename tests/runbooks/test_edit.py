"""What a person may change of a plan: within what the runbook declares, and never wider than it proposed."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.actions import Action, ActionKind, Change, FieldChange, Intent, Target
from watchkeeper.core.consents import PlanEdit
from watchkeeper.core.errors import InputError
from watchkeeper.core.model import Scalar
from watchkeeper.runbooks.edit import edited
from watchkeeper.runbooks.loader import load_catalog

CATALOG = load_catalog(())
THROTTLE, FAIL_OVER = CATALOG.get("throttle-runaway-caller"), CATALOG.get("fail-over-provider")


def an_action(intent: Intent, kind: str, **parameters: Scalar) -> Action:
    target = Target(adapter="litellm:main", kind=kind, id="x")
    return Action(
        step=0, intent=intent, kind=ActionKind.REVERSIBLE, target=target, parameters=tuple(sorted(parameters.items()))
    )


def a_change(action: Action, **before: Scalar) -> Change:
    fields = tuple(FieldChange(path=name, before=before.get(name), after=value) for name, value in action.parameters)
    return Change(target=action.target, intent=action.intent, fields=fields)


def set_to(runbook: object, action: Action, change: Change, name: str, value: Scalar) -> Scalar:
    (made,) = edited(runbook, [action], [change], [PlanEdit(step=0, name=name, value=value)])  # type: ignore[arg-type]
    assert made.target == action.target
    return dict(made.parameters)[name]


@pytest.mark.parametrize(
    ("proposed", "before", "value", "fine"),
    [
        (0.0, 3.0, 1.5, True),  # drains half instead of all
        (0.0, 3.0, 3.0, True),
        (0.0, 3.0, 3.5, False),
        (0.0, 3.0, -0.5, False),
        (3.0, 0.0, 1.0, True),  # the standby gets less, at least the declared 1
        (3.0, 0.0, 0.5, False),
        (3.0, 0.0, 4.0, False),
    ],
)
def test_a_weight_stays_between_what_was_and_what_was_proposed(
    proposed: float, before: float, value: float, fine: bool
) -> None:
    action = an_action(Intent.SHIFT_TRAFFIC, "deployment", weight=proposed)
    change = a_change(action, weight=before)
    if fine:
        assert set_to(FAIL_OVER, action, change, "weight", value) == value
    else:
        with pytest.raises(InputError, match="cannot be set"):
            set_to(FAIL_OVER, action, change, "weight", value)


def test_names_are_not_edited() -> None:
    action = an_action(Intent.SET_FALLBACK, "model_group", fallbacks="a,b")
    with pytest.raises(InputError, match="cannot be set"):
        set_to(FAIL_OVER, action, a_change(action), "fallbacks", "evil")


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**9), 10**9) | st.just(10**400)


@given(st.integers(1, 10_000), st.none() | st.integers(1, 10_000), numbers | st.text(max_size=5) | st.booleans())
def test_invariant_3_no_edit_leaves_the_runbooks_bounds(proposed: int, before: int | None, value: Scalar) -> None:
    action = an_action(Intent.THROTTLE, "key", rpm_limit=proposed)
    try:
        edit = PlanEdit.model_construct(step=0, name="rpm_limit", value=value)
        (made,) = edited(THROTTLE, [action], [a_change(action, rpm_limit=before)], [edit])
    except InputError:
        return
    limit = dict(made.parameters)["rpm_limit"]
    assert isinstance(limit, int)
    assert limit == value
    assert 1 <= limit <= (math.inf if before is None else max(proposed, before))
