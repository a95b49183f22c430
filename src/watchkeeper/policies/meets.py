"""What a set of documents comes to together, put in the form in which the gates ask for it.

A meet belongs to the policy, not to a decision: it depends on the documents alone, so a compiled policy keeps the meets
of the sets that it has met. It is no memory of decisions: each is weighed anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from watchkeeper.core.decisions import ApprovalTerms, Autonomy
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.terms import Bound, Key, Term, Terms, approvals_of, meet

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
class Meet:
    """The documents that match one request. Without a Grant there is nothing to narrow: the terms stay empty, and so
    does the autonomy. `bounds` are the terms by what they bound, in order."""

    grants: tuple[Node, ...]
    limits: tuple[Node, ...]
    terms: Terms
    bounds: Mapping[Term, tuple[tuple[Key, Bound], ...]]
    autonomy: Autonomy


@dataclass(frozen=True)
class Whole:
    """What holds for all requests of a plan together: the narrowest autonomy, every approval, the shortest time."""

    autonomy: Autonomy
    approvals: tuple[ApprovalTerms, ...]
    remedy_ttl_s: int | None


def meet_of(nodes: Iterable[Node]) -> Meet:
    """Of nodes in order of name."""
    every = tuple(nodes)
    grants = tuple(node for node in every if node.grants)
    terms = meet(node.terms for node in every) if grants else {}
    bounds: dict[Term, tuple[tuple[Key, Bound], ...]] = {}
    for key, bound in sorted(terms.items()):
        bounds[key.term] = (*bounds.get(key.term, ()), (key, bound))
    least = terms.get(Key(Term.AUTONOMY))
    return Meet(
        grants=grants,
        limits=tuple(node for node in every if not node.grants),
        terms=terms,
        bounds=bounds,
        autonomy=Autonomy.NONE if least is None else _BY_RANK[int(least.tightness)],
    )


def whole_of(meets: Iterable[Meet]) -> Whole:
    every = tuple(meets)
    terms = meet(each.terms for each in every)
    ttl = terms.get(Key(Term.TTL))
    return Whole(
        autonomy=min((each.autonomy for each in every), key=_BY_RANK.index, default=Autonomy.NONE),
        approvals=approvals_of(terms),
        remedy_ttl_s=None if ttl is None else int(ttl.tightness),
    )
