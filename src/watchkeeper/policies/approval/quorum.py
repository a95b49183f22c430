"""Who may answer for a plan, and when the answers are enough. Pure.

Each person counts once. Where a term says `separate`, a person counts for one of the decision's terms only, and the
answers are enough as soon as there is one way to share the people out. Where none says so, one person may count for
every term whose roles he holds. Who edited the plan does not count for a term that says `not_author`, but may reject.
One rejection rejects. An administrator holds every role, and is an author like anybody else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered, ApprovalEscalated, ApprovalRequested
from watchkeeper.core.decisions import ApprovalTerms
from watchkeeper.core.errors import ForbiddenError
from watchkeeper.core.principals import Principal, PrincipalKind, Role


class Panel:
    """The people whom one request asks, with those who came in by escalation so far."""

    def __init__(self, requested: ApprovalRequested, reached: Collection[ApprovalEscalated] = ()) -> None:
        self._requested = requested
        more: dict[int, set[str]] = {}
        for step in reached:
            more.setdefault(step.term, set()).update(step.roles)
        self._roles = [{*term.roles, *more.get(n, ())} for n, term in enumerate(requested.terms)]

    def may_answer(self, by: Principal, answer: ApprovalAnswer) -> None:
        """Raises ForbiddenError unless `by` is a person with a role that one of the terms names (invariant 3)."""
        asked = self._requested.approval
        if by.kind is not PrincipalKind.PERSON:
            raise ForbiddenError(
                f"{by.id} is not a person",
                cause="only people approve or reject; its token is a service's",
                next_step="ask somebody who has the role",
            )
        terms = list(enumerate(self._requested.terms))
        if not any(self._holds(by, n) for n, _ in terms):
            wanted = sorted(set().union(*self._roles))
            raise ForbiddenError(
                f"{by.id} may not answer {asked}",
                cause=f"it takes one of the roles {', '.join(wanted)}",
                next_step="ask somebody who has the role",
            )
        if answer is ApprovalAnswer.APPROVED and not any(self._counts(by, n, term) for n, term in terms):
            raise ForbiddenError(
                f"{by.id} may not approve {asked}",
                cause="who edited a plan does not approve it: the policy says notAuthor",
                next_step="ask somebody else who has the role, or reject it",
            )

    def enough(self, people: Sequence[Principal]) -> bool:
        """Whether these people, who all approved, satisfy every term."""
        terms = self._requested.terms
        counted = [[person.id for person in people if self._counts(person, n, term)] for n, term in enumerate(terms)]
        if any(len(who) < term.quorum for who, term in zip(counted, terms, strict=True)):
            return False
        if not any(term.separate for term in terms):
            return True
        return _shared_out([who for who, term in zip(counted, terms, strict=True) for _ in range(term.quorum)])

    def _counts(self, person: Principal, n: int, term: ApprovalTerms) -> bool:
        return self._holds(person, n) and not (term.not_author and person.id in self._requested.authors)

    def _holds(self, person: Principal, n: int) -> bool:
        return Role.ADMIN in person.roles or any(role in self._roles[n] for role in person.roles)


def standing(
    requested: ApprovalRequested, reached: Collection[ApprovalEscalated], answers: Collection[ApprovalAnswered]
) -> ApprovalAnswer | None:
    """What the answers make of the request; None: it still waits. An end that is no person's (expired, superseded)
    outweighs what people said before."""
    said = {given.answer for given in answers}
    for end in (ApprovalAnswer.SUPERSEDED, ApprovalAnswer.EXPIRED, ApprovalAnswer.REJECTED):
        if end in said:
            return end
    people: Mapping[str, Principal] = {given.by.id: given.by for given in answers if given.by is not None}
    enough = Panel(requested, reached).enough(tuple(people.values()))
    return ApprovalAnswer.APPROVED if enough else None


def _shared_out(seats: Sequence[Sequence[str]]) -> bool:
    """Whether every seat gets a person of its own among those who fit it (augmenting paths)."""
    seated: dict[str, int] = {}

    def seat(n: int, tried: set[str]) -> bool:
        for person in seats[n]:
            if person not in tried:
                tried.add(person)
                if person not in seated or seat(seated[person], tried):
                    seated[person] = n
                    return True
        return False

    return all(seat(n, set()) for n in range(len(seats)))
