"""What another policy would change, in words: whose authority grows, and whose shrinks.

Two policies can only differ where a document matches that is in one of them and not in the other; there both are asked
what their documents come to, for every combination of the words that are named in either, and for one that nobody
names. Caps are compared as the meet has them, so a Limit that a tighter one covers changes nothing. What the two would
have said to decisions of the past is a question for replay. Beyond `MAX_PLACES` combinations the rest is not looked at,
and said.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import islice
from typing import NamedTuple

from watchkeeper.policies.compile import UNKNOWN, Policy
from watchkeeper.policies.difference.places import Place, Words
from watchkeeper.policies.difference.wording import name_of, value_of
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.terms import Key, Term

MAX_PLACES = 20_000


class Way(StrEnum):
    GROWS = "grows"
    SHRINKS = "shrinks"
    BOTH = "grows and shrinks"


class Changed(NamedTuple):
    """The same changes at some places."""

    way: Way
    changes: tuple[str, ...]
    places: tuple[Place, ...]


class Difference(NamedTuple):
    """`added`, `removed` and `edited` are documents; `complete`: every combination was looked at."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    edited: tuple[str, ...]
    changed: tuple[Changed, ...]
    complete: bool

    def may_grow(self) -> bool:
        """Whether anybody's authority grows, as far as was looked."""
        return not self.complete or any(each.way is not Way.SHRINKS for each in self.changed)


def difference(old: Policy, new: Policy) -> Difference:
    before, after = ({node.name: node for node in policy.nodes} for policy in (old, new))
    edited = sorted(name for name in before.keys() & after.keys() if before[name].digest != after[name].digest)
    added, removed = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    differing = [
        side[name] for side, names in ((before, (*edited, *removed)), (after, (*edited, *added))) for name in names
    ]
    words = Words((*old.nodes, *new.nodes))
    places = list(islice(dict.fromkeys(place for node in differing for place in words.of(node)), MAX_PLACES + 1))
    found: dict[tuple[Way, tuple[str, ...]], list[Place]] = {}
    for place in places[:MAX_PLACES]:
        told = _compare(_met(old, place, words), _met(new, place, words))
        if told is not None:
            found.setdefault(told, []).append(place)
    changed = tuple(
        Changed(way, changes, tuple(sorted(at, key=_order))) for (way, changes), at in sorted(found.items())
    )
    return Difference(tuple(added), tuple(removed), tuple(edited), changed, complete=len(places) <= MAX_PLACES)


def _order(place: Place) -> tuple[Place, int]:
    """Phases as they follow one another, and first the one that is not known."""
    return place._replace(phase=None), -1 if place.phase is None else place.phase.rank


def _met(policy: Policy, place: Place, words: Words) -> Meet:
    at = place.environment, place.service, place.agent, place.runbook, words.intent(place), place.target_kind
    return policy.met_at((*at, place.phase or UNKNOWN, place.labels))


def _compare(old: Meet, new: Meet) -> tuple[Way, tuple[str, ...]] | None:
    if not old.grants or not new.grants:
        if bool(old.grants) == bool(new.grants):
            return None
        gained = bool(new.grants)
        autonomy = (new if gained else old).autonomy
        return (
            (Way.GROWS, (f"granted: {autonomy}",)) if gained else (Way.SHRINKS, (f"not granted any more: {autonomy}",))
        )
    told = [_of(key, old, new) for key in sorted(old.terms.keys() | new.terms.keys())]
    changes = [each for each in told if each is not None]
    if not changes:
        return None
    ways = {grows for grows, _ in changes}
    way = Way.BOTH if len(ways) == 2 else Way.GROWS if True in ways else Way.SHRINKS
    return way, tuple(text for _, text in changes)


def _of(key: Key, old: Meet, new: Meet) -> tuple[bool, str] | None:
    """Whether authority grows by this, and what it is."""
    if key.term is Term.AUTONOMY:
        grows = new.autonomy.rank > old.autonomy.rank
        return None if old.autonomy is new.autonomy else (grows, f"autonomy {old.autonomy} → {new.autonomy}")
    before, after, name = old.terms.get(key), new.terms.get(key), name_of(key)
    if before is not None and after is not None:
        if before.tightness == after.tightness:
            return None
        change = f"{name} {value_of(key, before)} → {value_of(key, after)}"
        return after.tightness > before.tightness, change
    if after is not None:
        return False, f"asked now: {name} {value_of(key, after)}".rstrip()
    return (True, f"not asked any more: {name} {value_of(key, before)}".rstrip()) if before is not None else None
