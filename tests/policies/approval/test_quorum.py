"""Who counts for what: distinct people, authors left out, one term each where it says so, more people by escalation."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testbed.authority import a_person

from watchkeeper.core.consents import ApprovalAnswer, ApprovalAnswered, ApprovalEscalated, ApprovalRequested
from watchkeeper.core.decisions import ApprovalTerms, EscalationStep
from watchkeeper.core.errors import ForbiddenError
from watchkeeper.core.ids import ApprovalId, DecisionId, IncidentId, PlanId
from watchkeeper.core.principals import Principal, PrincipalKind, Role
from watchkeeper.policies.approval.quorum import Panel, standing

ANN, BEN = a_person("ann", Role.APPROVER), a_person("ben", Role.APPROVER)
BOTH = a_person("both", Role.APPROVER, Role.OPERATOR)
OLGA = a_person("olga", Role.OPERATOR)
ROLES = (Role.APPROVER, Role.OPERATOR)


def term(*roles: str, quorum: int = 1, **more: object) -> ApprovalTerms:
    base = ApprovalTerms(node=f"limit/{'-'.join(roles)}", roles=roles, quorum=quorum, ttl_s=600)
    return base.model_copy(update=more)


def asked(*terms: ApprovalTerms, authors: tuple[str, ...] = ()) -> ApprovalRequested:
    return ApprovalRequested(
        approval=ApprovalId("apr_1"),
        incident=IncidentId("inc_1"),
        plan=PlanId("pln_1"),
        plan_hash="sha256:p",
        decision=DecisionId("dec_1"),
        terms=terms,
        expires=datetime(2026, 1, 1, tzinfo=UTC),
        authors=authors,
    )


def reached(*roles: str, of: int = 0) -> ApprovalEscalated:
    return ApprovalEscalated(
        approval=ApprovalId("apr_1"), incident=IncidentId("inc_1"), plan_hash="sha256:p", node="limit/x", term=of,
        step=0, roles=roles,
    )  # fmt: skip


def answered(answer: ApprovalAnswer, by: Principal | None) -> ApprovalAnswered:
    return ApprovalAnswered(
        approval=ApprovalId("apr_1"), incident=IncidentId("inc_1"), plan_hash="sha256:p", answer=answer, by=by
    )


def test_one_person_may_count_for_every_term_whose_role_they_hold() -> None:
    panel = Panel(asked(term("approver"), term("operator")))
    assert panel.enough([BOTH])
    assert not panel.enough([ANN])
    assert panel.enough([ANN, OLGA])


def test_where_a_term_says_separate_a_person_counts_for_one_term_only() -> None:
    panel = Panel(asked(term("approver", separate=True), term("operator")))
    assert not panel.enough([BOTH])
    assert panel.enough([BOTH, ANN]), "ann approves, both operates"
    assert panel.enough([OLGA, BOTH]), "and the other way round"
    assert not panel.enough([ANN, BEN])


def test_self_approval_of_an_edit_does_not_count_where_the_policy_says_so() -> None:
    strict = Panel(asked(term("approver", not_author=True), authors=("ann",)))
    assert not strict.enough([ANN])
    assert strict.enough([ANN, BEN])
    with pytest.raises(ForbiddenError, match="may not approve"):
        strict.may_answer(ANN, ApprovalAnswer.APPROVED)
    strict.may_answer(ANN, ApprovalAnswer.REJECTED)
    root = a_person("root", Role.ADMIN)
    with pytest.raises(ForbiddenError, match="may not approve"):
        Panel(asked(term("approver", not_author=True), authors=("root",))).may_answer(root, ApprovalAnswer.APPROVED)
    assert Panel(asked(term("approver"), authors=("ann",))).enough([ANN]), "no document forbids it"


def test_escalation_lets_more_people_count_for_its_own_term_and_no_other() -> None:
    request = asked(term("approver", escalation=(EscalationStep(after_s=60, roles=("operator",)),)), term("approver"))
    with pytest.raises(ForbiddenError, match="may not answer"):
        Panel(request).may_answer(OLGA, ApprovalAnswer.APPROVED)
    later = Panel(request, [reached("operator", of=0)])
    later.may_answer(OLGA, ApprovalAnswer.APPROVED)
    assert not later.enough([OLGA]), "the document without an escalation still asks an approver"
    assert later.enough([OLGA, ANN])


@pytest.mark.parametrize("kind", [PrincipalKind.SERVICE, PrincipalKind.DAEMON])
def test_invariant_3_a_machine_is_never_on_the_panel(kind: PrincipalKind) -> None:
    for answer in (ApprovalAnswer.APPROVED, ApprovalAnswer.REJECTED):
        with pytest.raises(ForbiddenError, match="not a person"):
            Panel(asked(term("approver"))).may_answer(a_person("model", Role.ADMIN, kind=kind), answer)


def test_an_end_that_is_nobodys_outweighs_what_people_said() -> None:
    request, yes = asked(term("approver")), answered(ApprovalAnswer.APPROVED, ANN)
    assert standing(request, (), [yes]) is ApprovalAnswer.APPROVED
    assert standing(request, (), []) is None
    for end in (ApprovalAnswer.SUPERSEDED, ApprovalAnswer.EXPIRED):
        assert standing(request, (), [yes, answered(end, None)]) is end
    assert standing(request, (), [yes, answered(ApprovalAnswer.REJECTED, BEN)]) is ApprovalAnswer.REJECTED


people = st.lists(
    st.builds(
        lambda name, roles: a_person(name, *roles),
        st.sampled_from("abcdef"),
        st.sets(st.sampled_from((*ROLES, Role.VIEWER)), min_size=1),
    ),
    max_size=5,
    unique_by=lambda person: person.id,
)
terms = st.lists(
    st.builds(
        lambda roles, quorum, not_author, separate: term(
            *sorted(roles), quorum=quorum, not_author=not_author, separate=separate
        ),
        st.sets(st.sampled_from(ROLES), min_size=1),
        st.integers(1, 2),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1,
    max_size=3,
)
authors = st.sets(st.sampled_from("abc"), max_size=2).map(lambda names: tuple(sorted(names)))


def by_hand(request: ApprovalRequested, given: list[Principal]) -> bool:
    """Every way to share the people out, tried one by one."""

    def fits(person: Principal, term: ApprovalTerms) -> bool:
        return any(role in term.roles for role in person.roles) and not (
            term.not_author and person.id in request.authors
        )

    if not any(term.separate for term in request.terms):
        return all(sum(fits(person, term) for person in given) >= term.quorum for term in request.terms)
    seats = [term for term in request.terms for _ in range(term.quorum)]
    return any(
        all(fits(person, seat) for person, seat in zip(row, seats, strict=True))
        for row in permutations(given, len(seats))
    )


@given(terms, people, authors)
def test_invariant_3_the_answers_are_enough_exactly_when_the_people_can_be_shared_out(
    asked_for: list[ApprovalTerms], given: list[Principal], wrote: tuple[str, ...]
) -> None:
    request = asked(*asked_for, authors=wrote)
    assert Panel(request).enough(given) == by_hand(request, given)


@given(terms, people, authors, st.data())
def test_invariant_3_more_people_never_make_it_less_and_stricter_terms_never_make_it_more(
    asked_for: list[ApprovalTerms], given: list[Principal], wrote: tuple[str, ...], data: st.DataObject
) -> None:
    request = asked(*asked_for, authors=wrote)
    some = data.draw(st.lists(st.sampled_from(given), unique=True)) if given else []
    assert Panel(request).enough(given) or not Panel(request).enough(some)
    one = data.draw(st.sampled_from(asked_for))
    for stricter in ({"not_author": True}, {"separate": True}, {"quorum": one.quorum + 1}):
        harder = asked(
            *(each.model_copy(update=stricter) if each is one else each for each in asked_for), authors=wrote
        )
        assert Panel(request).enough(given) or not Panel(harder).enough(given)
