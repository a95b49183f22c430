"""Where a policy gives authority, and what is left there: held to what the policy itself decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policies.test_invariants import grants, limits
from tests.testbed.decisions import a_grant, a_limit, a_policy, a_request, an_input

from watchkeeper.core.actions import Intent, Target
from watchkeeper.core.decisions import Autonomy
from watchkeeper.core.errors import InputError, PolicyError
from watchkeeper.core.subjects import Scope
from watchkeeper.policies.compile import Policy
from watchkeeper.policies.meets import Meet
from watchkeeper.policies.model import PolicyDocument
from watchkeeper.policies.picture.places import Graph, Level, Names, Place, graph, read_focus

PATH = {
    "environments": ["production"],
    "services": ["chat"],
    "agents": ["remediator/litellm"],
    "runbooks": ["fail-over"],
    "intents": ["throttle"],
    "targetKinds": ["key"],
}


def leaves(place: Place, above: tuple[Names, ...] = ()) -> Iterator[tuple[tuple[Names, ...], Place]]:
    """Every agent's place with the names that lead there, one for each dimension."""
    names = (*above, *place.names)
    if place.left is not None:
        yield names, place
    for below in place.below:
        yield from leaves(below, names)


def all_places(place: Place) -> Iterator[Place]:
    yield place
    for below in place.below:
        yield from all_places(below)


def paths(drawn: Graph) -> list[str]:
    return [" / ".join(map(str, names)) for names, _ in leaves(drawn.root)]


def test_documents_stand_at_the_deepest_level_that_they_name() -> None:
    policy = a_policy(
        a_grant(match=PATH),
        a_limit("all"),
        a_limit("environment", match={"environments": ["production"]}),
        a_limit("service", match={"services": ["chat"]}),
        a_limit("runbook", match={"environments": ["production"], "intents": ["throttle"]}),
        a_limit("agent", match={"agents": ["remediator/litellm"]}),
        a_limit("elsewhere", match={"environments": ["staging"]}),
    )
    drawn = graph(policy)
    stand = {each.level: [one.node.name for one in each.documents] for each in all_places(drawn.root)}
    assert stand == {
        Level.ORGANISATION: ["limit/all"],
        Level.ENVIRONMENT: ["limit/environment"],
        Level.SERVICE: ["limit/service"],
        Level.ACTION: ["limit/runbook"],
        Level.AGENT: ["grant/g", "limit/agent"],
    }
    assert [node.name for node in drawn.idle] == ["limit/elsewhere"]
    assert paths(drawn) == ["production / chat / fail-over / throttle / key / remediator/litellm"]


def test_what_is_left_names_who_narrowed_what_was_given() -> None:
    policy = a_policy(
        a_grant(match=PATH, autonomy="full"), a_limit("l", match={"services": ["chat"]}, autonomy="propose")
    )
    ((_, place),) = leaves(graph(policy).root)
    left = place.left
    assert left is not None
    assert (left.given, left.left, left.by) == (Autonomy.FULL, Autonomy.PROPOSE, "limit/l")


def test_words_that_come_to_the_same_are_one_place_and_the_rest_is_another() -> None:
    policy = a_policy(
        a_grant(match=PATH | {"services": ["*"]}),
        a_limit("two", match={"services": ["search", "billing"]}, autonomy="none"),
        a_limit("nothing", match={"agents": ["remediator/other"]}),
    )
    assert [path.split(" / ")[1] for path in paths(graph(policy))] == ["billing, search", "any other"]


def test_a_label_is_a_condition() -> None:
    sure = a_policy(a_grant(match=PATH), a_limit("l", match={"targetLabels": {"tier": ["paid"]}}, autonomy="shadow"))
    ((_, place),) = leaves(graph(sure).root)
    assert place.left is not None
    assert (place.left.left, place.left.least, place.left.sure) == (Autonomy.BOUNDED, Autonomy.SHADOW, True)
    perhaps = a_policy(a_grant(match=PATH | {"targetLabels": {"tier": ["free"]}}))
    ((_, place),) = leaves(graph(perhaps).root)
    assert place.left is not None
    assert (place.left.left, place.left.sure, place.documents[0].condition) == (Autonomy.BOUNDED, False, "tier=free")


def test_a_focus_leaves_its_path_alone_whether_its_words_are_named_or_not() -> None:
    policy = a_policy(
        a_grant("a", match=PATH),
        a_grant("b", match=PATH | {"services": ["*"], "runbooks": ["cap"]}, autonomy="propose"),
    )
    assert len(paths(graph(policy))) == 3
    chat = graph(policy, read_focus("service=chat,runbook=fail-over"))
    assert paths(chat) == ["production / chat / fail-over / throttle / key / remediator/litellm"]
    assert paths(graph(policy, read_focus("service=unheard-of"))) == [
        "production / unheard-of / cap / throttle / key / remediator/litellm"
    ]
    assert paths(graph(policy, read_focus("environment=staging"))) == []


@pytest.mark.parametrize("text", ["servce=chat", "service", "service=", "service=a,service=b", "=chat", "phase"])
def test_a_focus_that_cannot_be_read_is_told(text: str) -> None:
    with pytest.raises(InputError, match="cannot read the focus") as told:
        read_focus(text)
    assert "targetKind" in told.value.next_step


def test_what_is_too_large_is_refused_and_a_part_of_it_is_not() -> None:
    some = [a_limit(f"l{n}", match={"environments": [f"e{n % 3}"]}) for n in range(1200)]
    policy = a_policy(a_grant(match={"environments": ["*"]}), *some)
    with pytest.raises(PolicyError, match="1201 documents; at most 1000") as told:
        graph(policy)
    assert "--focus" in told.value.next_step
    assert len(paths(graph(policy, {"environment": "e1"}))) == 1
    names = [f"w{n}" for n in range(200)]
    wide = a_policy(
        a_grant(match={"environments": ["*"]}),
        *(a_limit(f"s{n}", match={"services": [n]}) for n in names),
        *(a_limit(f"r{n}", match={"runbooks": [n]}) for n in names),
    )
    with pytest.raises(PolicyError, match="more than 20000 places"):
        graph(wide)


def _met(policy: Policy, names: tuple[Names, ...], labels: Any) -> Meet:
    """What the policy itself comes to at a path, for a target with these labels."""
    words = [each.words[0] if each.words else "nobody-names-it" for each in names]
    environment, service, runbook, intent, kind, agent = words
    asked = Intent(intent) if names[3].words else Intent.ROLLBACK
    target = Target(adapter="x", kind=kind, id="1", labels=labels)
    scope = Scope(environment=environment, service=service)
    (met,) = policy.met(an_input(a_request(intent=asked, target=target), scope=scope, runbook=runbook, agent=agent))
    return met


@settings(max_examples=150)
@given(st.lists(grants | limits, max_size=8, unique_by=lambda document: document.node))
def test_what_is_left_is_what_the_policy_comes_to_there(documents: list[PolicyDocument]) -> None:
    everywhere = [each for each in documents if not (each.spec.match.target_labels or each.spec.match.phases)]
    policy = a_policy(*everywhere)
    drawn = graph(policy)
    for names, place in leaves(drawn.root):
        assert place.left is not None
        met = _met(policy, names, ())
        assert (met.autonomy, met.terms) == (place.left.left, place.left.met.terms)
    assert sum(drawn.root.tally.values()) == len(paths(drawn))
    assert {node.name for node in drawn.idle if node.grants} == set()


@settings(max_examples=100)
@given(st.lists(grants | limits, max_size=8, unique_by=lambda document: document.node))
def test_where_something_is_granted_there_is_a_place(documents: list[PolicyDocument]) -> None:
    policy = a_policy(*documents)
    drawn = graph(policy)
    for node in policy.nodes:
        if node.grants:
            assert any(node.name in (placed.node.name for placed in each.documents) for each in all_places(drawn.root))
