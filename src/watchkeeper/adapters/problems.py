"""Why an action cannot be done, and what a person changes so that it can. An adapter adds codes of its own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from watchkeeper.adapters.contract import Problem

FIXES: Mapping[str, str] = {
    "not_capable": "choose an intent that the adapter lists for this kind of target: watchkeeper adapters matrix",
    "bad_parameters": "correct the runbook's parameters: watchkeeper runbook lint",
    "missing": "it is not there (any more); look at the target's own list",
    "read_only": "only the target itself writes this field",
}


def problem(code: str, path: str = "", own: Mapping[str, str] = FIXES) -> Problem:
    """`own` are the adapter's fixes, which come before the common ones."""
    return Problem(code=code, path=path, fix=own.get(code) or FIXES[code])


def parameter_problems(error: ValidationError) -> tuple[Problem, ...]:
    """What is wrong with each parameter, without its value."""
    return tuple(
        Problem(
            code="bad_parameters",
            path=".".join(str(part) for part in found["loc"]),
            fix=f"{found['msg']}; {FIXES['bad_parameters']}",
        )
        for found in error.errors(include_input=False, include_context=False, include_url=False)
    )
