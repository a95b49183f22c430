"""Invariant 6 over random graphs of up to a thousand documents that ask for everything a document can ask."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policies.test_invariants import no_wider
from tests.testbed import policygraphs
from tests.testbed.decisions import a_policy

from watchkeeper.core.canonical import canonical_model
from watchkeeper.core.decisions import Autonomy, DecisionInput, Gate, Verdict
from watchkeeper.policies.decide import decide
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.terms import Terms, meet, terms_of

ASKED = 5
"""Requests to each graph: a graph costs more than a request."""
seeds = st.integers(0, 2**32)


def graph(seed: int) -> tuple[random.Random, list[PolicyDocument]]:
    rng = random.Random(seed)
    return rng, policygraphs.documents(rng)


def no_looser(after: Terms, before: Terms) -> bool:
    """Every bound that there was is there, and none is above what it was."""
    return all(key in after and after[key].tightness <= bound.tightness for key, bound in before.items())


def test_the_graphs_come_to_every_verdict_and_ask_at_every_gate() -> None:
    """So that what follows is about something."""
    verdicts: Counter[Verdict] = Counter()
    gates: set[Gate] = set()
    largest = 0
    for seed in range(30):
        rng, documents = graph(seed)
        policy = a_policy(*documents)
        largest = max(largest, len(documents))
        for _ in range(ASKED):
            decision = decide(policy, policygraphs.an_asked(rng))
            verdicts[decision.verdict] += 1
            gates |= {each.gate for each in decision.walk}
    assert set(verdicts) == set(Verdict)
    assert verdicts[Verdict.DENY] < 0.8 * verdicts.total()
    assert (largest, gates) == (1000, set(Gate))


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_invariant_6_the_meet_of_large_graphs_is_monotone_idempotent_commutative_and_associative(seed: int) -> None:
    rng, documents = graph(seed)
    terms = [terms_of(each) for each in documents]
    whole = meet(terms)
    assert meet([whole, whole]) == whole
    assert meet(rng.sample(terms, len(terms))) == whole
    one, two = sorted((rng.randint(0, len(terms)), rng.randint(0, len(terms))))
    a, b, c = meet(terms[:one]), meet(terms[one:two]), meet(terms[two:])
    assert meet([meet([a, b]), c]) == meet([a, meet([b, c])]) == whole
    assert all(no_looser(whole, part) for part in (a, b, c))


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_invariant_6_a_limit_never_widens_in_large_graphs(seed: int) -> None:
    rng, documents = graph(seed)
    limit = policygraphs.document(rng, len(documents), rng.choice((0.1, 1.0)), "Limit")
    before, after = a_policy(*documents), a_policy(*documents, limit)
    for _ in range(ASKED):
        asked = policygraphs.an_asked(rng)
        assert no_wider(decide(after, asked), decide(before, asked))


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_invariant_6_a_grant_widens_only_its_own_match_in_large_graphs(seed: int) -> None:
    rng, documents = graph(seed)
    grant = policygraphs.document(rng, len(documents), rng.choice((0.0, 0.1, 1.0)), "Grant")
    before, after = a_policy(*documents), a_policy(*documents, grant)
    alone = a_policy(grant)
    for _ in range(ASKED):
        asked = policygraphs.an_asked(rng)
        for request in asked.requests:
            one = asked.model_copy(update={"requests": (request,)})
            old, new = decide(before, one), decide(after, one)
            (now,), (then,) = after.met(one), before.met(one)
            if grant.node not in now.grants:
                assert new == old.model_copy(update={"policy_version": after.version})
            elif then.grants:
                assert no_wider(new, old)
            else:
                assert old.verdict is Verdict.DENY
                assert no_wider(new, decide(alone, one))


UNKNOWN: dict[str, dict[str, Any]] = {
    "offsets": {"offsets": ()},
    "budgets": {"budgets": ()},
    "rates": {"rates": ()},
    "trust": {"trust_lower_bound": None},
    "verification": {"verification": None},
}


@pytest.mark.parametrize("name", [*UNKNOWN, "promotion", "readings"])
@settings(max_examples=4, deadline=None)
@given(seeds)
def test_invariant_6_what_is_not_known_never_widens(name: str, seed: int) -> None:
    rng, documents = graph(seed)
    policy = a_policy(*documents)
    for _ in range(ASKED):
        asked = policygraphs.an_asked(rng)
        assert no_wider(decide(policy, without(asked, name)), decide(policy, asked))


def without(asked: DecisionInput, name: str) -> DecisionInput:
    """The same request, of which this is not known."""
    if name == "promotion":
        assert asked.standing is not None
        held = asked.standing.promoted in (Autonomy.NONE, Autonomy.SHADOW)  # a person's word against it, not for it
        standing = asked.standing if held else asked.standing.model_copy(update={"promoted": None})
        return asked.model_copy(update={"standing": standing})
    if name == "readings":
        unread = tuple(each.model_copy(update={"remaining": None, "burns": ()}) for each in asked.budgets)
        return asked.model_copy(update={"budgets": unread})
    return asked.model_copy(update=UNKNOWN[name])


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_invariant_6_evaluation_of_large_graphs_is_total_deterministic_and_order_free(seed: int) -> None:
    rng, documents = graph(seed)
    policy, shuffled = a_policy(*documents), a_policy(*rng.sample(documents, len(documents)))
    assert policy.version == shuffled.version
    for _ in range(ASKED):
        asked = policygraphs.an_asked(rng)
        strange = asked.model_copy(update={"agent": rng.choice(("", "*", "\x00", "remediator/" + "x" * 300))})
        for each in (asked, strange):
            decision = decide(policy, each)
            assert canonical_model(decide(shuffled, each)) == canonical_model(decision)
            assert (decision.verdict is Verdict.ALLOW) == (not decision.blocking)
