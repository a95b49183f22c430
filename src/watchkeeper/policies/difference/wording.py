"""A term of the meet in words."""

from __future__ import annotations

import json

from watchkeeper.policies.terms import Bound, Key, Term

_PLAIN = {
    Term.AUTONOMY: "autonomy",
    Term.BLAST_COUNT: "things touched at most",
    Term.BLAST_SHARE: "share touched at most",
    Term.COOLDOWN: "seconds of cool-down",
    Term.PER_TARGET: "plans on one target at most",
    Term.FLEET: "plans at once at most",
    Term.TTL: "seconds in force at most",
    Term.TRUST: "trust at least",
    Term.CONFIDENCE: "confidence at least",
    Term.HORIZONS: "horizons at least",
    Term.LAST_HORIZON: "last horizon at least, in seconds,",
    Term.GUARDS: "guard SLIs at least",
    Term.PROMOTION: "promotion by a person",
}
_DETAILED = {
    Term.EVIDENCE: "evidence {}",
    Term.RATE: "effects in {} s at most",
    Term.QUORUM: "approvals by {}",
    Term.APPROVAL_TTL: "seconds to approve for {}",
    Term.BUDGET_LEFT: "error budget left of {} at least",
    Term.MAX_BURN: "burn rate (objective, seconds, seconds) {} at most",
    Term.MIN_BURN: "burn rate (objective; seconds, seconds, rate) {} at least",
}
_NAMED = {Term.FREEZE: "freeze {}", Term.RULE: "rule {}"}
_MEASURED = frozenset(Term) - {Term.EVIDENCE, Term.PROMOTION, Term.WINDOWS, Term.FREEZE, Term.MIN_BURN, Term.RULE}
"""Of the others there is no more or less: they are asked, or they are not."""


def name_of(key: Key) -> str:
    """What the term asks, without its bound."""
    if key.term in _NAMED:
        return _NAMED[key.term].format(json.loads(key.detail)[0]["name"])
    if key.term is Term.WINDOWS:
        return "windows " + "; ".join(_window(each) for each in json.loads(key.detail))
    return _DETAILED[key.term].format(key.detail) if key.term in _DETAILED else _PLAIN[key.term]


def value_of(key: Key, bound: Bound) -> str:
    """The bound; empty where there is no more or less of it."""
    return f"{abs(bound.tightness):g}" if key.term in _MEASURED else ""


def _window(written: dict[str, object]) -> str:
    days = written.get("days")
    when = f"{written.get('start', '00:00')}-{written.get('end', '24:00')} {written['zone']}"
    return f"{' '.join(map(str, days))} {when}" if isinstance(days, list) else when
