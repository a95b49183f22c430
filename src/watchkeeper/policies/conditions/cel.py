"""Google's CEL, at the one place where it is used: what an expression may name, its check, and its answer.

An expression is checked when a document is read: a name that nothing declares, or a comparison of unlike types, is an
error there. It sees what a decision is asked with, never text from telemetry; it cannot loop without end (the library's
budget of iterations) and has no clock.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, lru_cache

from cel_expr_python import cel

from watchkeeper.core.decisions import ActionRequest, DecisionInput
from watchkeeper.core.errors import suggest

MAX_EXPRESSION = 2000

_T = cel.Type
NAMES: Mapping[str, cel.Type] = {
    "environment": _T.STRING,
    "service": _T.STRING,
    "phase": _T.STRING,
    "agent": _T.STRING,
    "runbook": _T.STRING,
    "mode": _T.STRING,
    "severity": _T.STRING,
    "confidence": _T.DOUBLE,
    "novel": _T.BOOL,
    "edgeProven": _T.BOOL,
    "signs": _T.List(_T.STRING),
    "trust": _T.DOUBLE,
    "runningFleet": _T.INT,
    "steps": _T.INT,
    "intent": _T.STRING,
    "kind": _T.STRING,
    "adapter": _T.STRING,
    "targetKind": _T.STRING,
    "targetId": _T.STRING,
    "targetLabels": _T.Map(_T.STRING, _T.STRING),
    "blastCount": _T.INT,
    "blastPopulation": _T.INT,
    "runningOnTarget": _T.INT,
}
"""What an expression may name. `trust` has no value where no trust is kept, `phase` none where it is not known:
an expression that needs it has none either."""

_UNDECLARED = re.compile(r"undeclared reference to '([^']*)'")
_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(variables=dict(NAMES))


@lru_cache(maxsize=20_000)
def compiled(expression: str) -> cel.Expression:
    """Raises ValueError with a text for people unless it is a condition."""
    try:
        found = _environment().compile(expression)
    except RuntimeError as error:
        raise ValueError(_told(str(error))) from error
    if found.return_type().name() != "BOOL":
        raise ValueError(f"a rule must be true or false, and this is {found.return_type().name().lower()}")
    return found


def _told(error: str) -> str:
    name, found = _UNDECLARED.search(error), _ERROR.search(error)
    if name is not None:
        word = name[1].lstrip(".")
        return f"there is nothing named {word[:60]!r}{suggest(word, NAMES)}; names are {', '.join(sorted(NAMES))}"
    return error[:300] if found is None else f"column {found[2]}: {found[3][:300]}"


def checked(expression: str) -> str:
    compiled(expression)
    return expression


class Facts:
    """What the expressions about one request see; made once for all of them."""

    def __init__(self, given: DecisionInput, request: ActionRequest) -> None:
        self._activation = _environment().Activation(_values(given, request))

    def hold(self, expression: str) -> bool | None:
        """None: it has no answer, since something it needs is not known."""
        try:
            answer = compiled(expression).eval(self._activation).value()
        except RuntimeError:
            return None
        return answer if isinstance(answer, bool) else None


def _values(given: DecisionInput, request: ActionRequest) -> dict[str, object]:
    target = request.target
    values: dict[str, object] = {
        "environment": given.scope.environment,
        "service": given.scope.service,
        "agent": given.agent,
        "runbook": given.runbook,
        "mode": given.mode.value,
        "severity": given.severity.value,
        "confidence": given.confidence,
        "novel": given.novel,
        "edgeProven": given.edge_proven,
        "signs": [sign.value for sign in given.signs],
        "runningFleet": given.running_fleet,
        "steps": len(given.requests),
        "intent": request.intent.value,
        "kind": request.kind.value,
        "adapter": target.adapter,
        "targetKind": target.kind,
        "targetId": target.id,
        "targetLabels": dict(target.labels),
        "blastCount": request.blast_count,
        "blastPopulation": request.blast_population,
        "runningOnTarget": request.running_on_target,
    }
    if given.trust_lower_bound is not None:
        values["trust"] = given.trust_lower_bound
    if given.phase is not None:
        values["phase"] = given.phase.value
    return values
