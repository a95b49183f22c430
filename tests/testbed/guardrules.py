"""Rules and calls for tests of the guard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.testbed.guardserver import RuleJson, document
from watchkeeper_guard.document import parse
from watchkeeper_guard.request import Request, Size
from watchkeeper_guard.rules import Rules


def rule(kind: str, *, id: str = "", match: dict[str, str] | None = None, **given: Any) -> RuleJson:
    """`mode`, `on_doubt` and `until` are the rule's own; everything else is its limits."""
    own: RuleJson = {name: given.pop(name) for name in ("mode", "on_doubt", "until") if name in given}
    return {"id": id or kind, "kind": kind, "match": match or {}, "limits": given, **own}


def rules(*given: RuleJson, version: int = 1) -> Rules:
    return parse(document(version, *given))


def a_call(run: str = "run-1", agent: str = "agent-1", tokens: int = 10, **given: Any) -> Request:
    """A call with a prompt whose size is known."""
    base = Request(
        model="m",
        keys=("key-1",),
        agents=(agent,) if agent else (),
        runs=(run,) if run else (),
        size=Size(upper=tokens, estimate=tokens, counted=tokens),
        output=0,
    )
    return replace(base, **given)
