"""What a set of documents comes to together, put in the form in which the gates ask for it.

A meet belongs to the policy, not to a decision: it depends on the documents alone, so a compiled policy keeps the meets
of the sets that it has met. It is no memory of decisions: each is weighed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from watchkeeper.core.decisions import ApprovalTerms, Autonomy
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.terms import Bound, Key, Term, Terms, approvals_of, bits, meet

_BY_RANK = tuple(Autonomy)


@dataclass(frozen=True)
class Node:
    """One document of a compiled policy. `grants`: it gives authority; otherwise it only takes away."""

    name: str
    digest: str
    grants: bool
    document: PolicyDocument
    terms: Terms


@dataclass(frozen=True)
class Whole:
    """What holds for all requests of a plan together: the narrowest autonomy, every approval, the shortest time."""

    autonomy: Autonomy
    approvals: tuple[ApprovalTerms, ...]
    remedy_ttl_s: int | None


@dataclass(frozen=True)
class Meet:
    """The documents that match one request, by name. Without a Grant there is nothing to narrow: the terms stay empty,
    and so does the autonomy. `bounds` are the terms by what they bound, in order, and `bounded` is the bit set of
    these; `alone` is what holds for a plan of requests that all have this meet."""

    grants: tuple[str, ...]
    limits: tuple[str, ...]
    terms: Terms
    bounds: Mapping[Term, tuple[tuple[Key, Bound], ...]]
    bounded: int
    autonomy: Autonomy
    alone: Whole
    asks_promotion: bool
    programs: dict[tuple[int, int], object] = field(default_factory=dict, compare=False, repr=False)
    """What the walk made ready of it, once: see `gates.walk`."""


def meet_of(nodes: Iterable[Node]) -> Meet:
    """Of nodes in order of name."""
    every = tuple(nodes)
    grants = tuple(node.name for node in every if node.grants)
    terms = meet(node.terms for node in every) if grants else {}
    bounds: dict[Term, tuple[tuple[Key, Bound], ...]] = {}
    for key, bound in sorted(terms.items()):
        bounds[key.term] = (*bounds.get(key.term, ()), (key, bound))
    least = terms.get(Key(Term.AUTONOMY))
    autonomy = Autonomy.NONE if least is None else _BY_RANK[int(least.tightness)]
    return Meet(
        grants=grants,
        limits=tuple(node.name for node in every if not node.grants),
        terms=terms,
        bounds=bounds,
        bounded=bits(bounds),
        autonomy=autonomy,
        alone=_whole(autonomy, terms),
        asks_promotion=Term.PROMOTION in bounds,
    )


def whole_of(meets: Sequence[Meet]) -> Whole:
    """Of a plan whose requests have these meets."""
    if not meets:
        return _whole(Autonomy.NONE, {})
    first = meets[0]
    if all(each is first for each in meets):
        return first.alone
    return _whole(min((each.autonomy for each in meets), key=_BY_RANK.index), meet(each.terms for each in meets))


def _whole(autonomy: Autonomy, terms: Terms) -> Whole:
    ttl = terms.get(Key(Term.TTL))
    return Whole(autonomy, approvals_of(terms), None if ttl is None else int(ttl.tightness))
