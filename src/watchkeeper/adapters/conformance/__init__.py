"""The conformance kit: what an adapter must show before it is registered, as plain functions for any test runner.

A clause takes an example (the adapter before a real or faithful target, a judge that reads the target by another way,
and a fault injector between the two) and one case. It raises ConformanceError with the rule that was broken.
It proves the cases it is given, not that there are enough of them: there must be one for every capability.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from watchkeeper.adapters.conformance.bounds import (
    a_rate_limit_is_respected,
    authority_is_asked_last,
    the_deadline_holds,
)
from watchkeeper.adapters.conformance.returning import what_restores_itself_is_watched
from watchkeeper.adapters.conformance.rules import ConformanceError, must
from watchkeeper.adapters.conformance.telling import (
    errors_fit_the_tree,
    every_write_is_recorded,
    the_credential_never_leaks,
)
from watchkeeper.adapters.conformance.unknown import (
    a_late_call_is_not_a_no,
    lost_reply_is_unknown_and_observe_settles_it,
    what_was_not_done_is_observed_as_no,
)
from watchkeeper.adapters.conformance.writing import (
    a_declared_precondition_closes_the_window,
    another_writer_is_not_overwritten,
    dry_run_changes_nothing,
    one_key_has_one_effect,
    precheck_refuses_what_cannot_be_done,
    undo_restores_field_by_field,
)
from watchkeeper.adapters.kit import CORE_FAULTS, Case, Example
from watchkeeper.core.actions import ActionKind

__all__ = ["CLAUSES", "Clause", "ConformanceError", "covers_every_capability"]

Clause = Callable[[Example, Case], Awaitable[None]]

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
    must(example.faults.known >= CORE_FAULTS, "the injector can do what every protocol has", example.faults.known)
    for capability in example.adapter.capabilities():
        what = f"{capability.intent} on {capability.target_kind}"
        case = cases.get((capability.target_kind, capability.intent))
        if case is None:
            raise ConformanceError(f"{what}: every capability has a case")
        must(bool(capability.permissions), f"{what}: names its permissions")
        must(capability.tested is example.against, f"{what}: was tested against {example.against}", capability.tested)
        if capability.kind is ActionKind.IRREVERSIBLE:
            must(case.again is not None, f"{what}: has a fresh target for each effect")
        if capability.kind is ActionKind.SELF_RESTORING:
            must(case.stuck is not None, f"{what}: knows a target that does not come back")
