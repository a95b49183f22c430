"""What documents ask for, in the few words that fit into a box."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from watchkeeper.core.decisions import Autonomy
from watchkeeper.policies.conditions.when import Day
from watchkeeper.policies.difference.wording import name_of, value_of
from watchkeeper.policies.meets import Node
from watchkeeper.policies.terms import Bound, Key, Term, Terms, approvals_of

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"))
_AUTONOMY = tuple(Autonomy)


def span(seconds: float) -> str:
    """`90m`, `2h`, `45s`."""
    whole = round(seconds)
    return next((f"{whole // unit}{sign}" for unit, sign in _UNITS if whole and whole % unit == 0), f"{whole}s")


def _burn(sign: str) -> Callable[[str, float], str]:
    def told(detail: str, bound: float) -> str:
        objective, *windows = detail.split(" ")
        rate = bound if sign == "≤" else float(windows[2])
        more = "" if len(windows) <= 3 else " or otherwise"
        return f"{objective} burns {sign} {rate:g} over {span(int(windows[0]))} and {span(int(windows[1]))}{more}"

    return told


def _hours(window: dict[str, str]) -> str:
    days = window.get("days")
    when = f"{window.get('start', '00:00')}-{window.get('end', '24:00')} {window['zone']}"
    return f"{_days(days)} {when}" if days else when


def _days(days: Iterable[str]) -> str:
    """`mon-fri`, where they follow one another."""
    known = [each.value for each in Day]
    named = sorted(known.index(day) for day in days)
    if len(named) > 2 and named[-1] - named[0] == len(named) - 1:
        return f"{known[named[0]]}-{known[named[-1]]}"
    return " ".join(known[each] for each in named)


_SAYS: dict[Term, Callable[[str, float], str]] = {
    Term.AUTONOMY: lambda _, bound: f"≤ {_AUTONOMY[int(bound)]}",
    Term.BLAST_COUNT: lambda _, bound: f"touch ≤ {bound:g}",
    Term.BLAST_SHARE: lambda _, bound: f"touch ≤ {bound:.0%}",
    Term.RATE: lambda window, bound: f"≤ {bound:g} in {span(int(window))}",
    Term.COOLDOWN: lambda _, bound: f"cool down {span(bound)}",
    Term.PER_TARGET: lambda _, bound: f"≤ {bound:g} at a target",
    Term.FLEET: lambda _, bound: f"≤ {bound:g} at once",
    Term.TTL: lambda _, bound: f"for ≤ {span(bound)}",
    Term.TRUST: lambda _, bound: f"trust ≥ {bound:g}",
    Term.CONFIDENCE: lambda _, bound: f"sure ≥ {bound:g}",
    Term.EVIDENCE: lambda sign, _: f"sees {sign}",
    Term.HORIZONS: lambda _, bound: f"looks ≥ {bound:g} times",
    Term.LAST_HORIZON: lambda _, bound: f"looks after ≥ {span(bound)}",
    Term.GUARDS: lambda _, bound: f"guard SLIs ≥ {bound:g}",
    Term.PROMOTION: lambda *_: "promoted",
    Term.BUDGET_LEFT: lambda objective, bound: f"{objective} has ≥ {bound:.0%} left",
    Term.MAX_BURN: _burn("≤"),
    Term.MIN_BURN: _burn("≥"),
    Term.WINDOWS: lambda windows, _: " or ".join(_hours(each) for each in json.loads(windows)),
    Term.RULE: lambda rule, _: f"rule {json.loads(rule)[0]['name']}",
}


def said(key: Key, bound: Bound) -> str:
    """One bound."""
    if key.term in _SAYS:
        return _SAYS[key.term](key.detail, abs(bound.tightness))
    return f"{name_of(key)} {value_of(key, bound)}".rstrip()


def asked(terms: Terms) -> Iterator[tuple[str, str]]:
    """Every bound, and the document that sets it; an approval in one."""
    approvals = [
        (f"{each.quorum} of {' or '.join(each.roles)} within {span(each.ttl_s)}", each.node)
        for each in approvals_of(terms)
    ]
    for key, bound in sorted(terms.items()):
        if key.term is Term.QUORUM:
            yield from approvals[:1]
            approvals = approvals[1:]
        elif key.term is not Term.APPROVAL_TTL:
            yield said(key, bound), bound.node


def asks(node: Node) -> tuple[str, ...]:
    """All that a document gives or asks, its autonomy first."""
    first, *rest = [text for text, _ in asked(node.terms)] or ["asks nothing"]
    return (first.removeprefix("≤ ") if node.grants else first, *rest)


def in_short(node: Node) -> str:
    """What comes first of it, and how much more there is."""
    first, *rest = asks(node)
    return f"{first} and {len(rest)} more" if rest else first
