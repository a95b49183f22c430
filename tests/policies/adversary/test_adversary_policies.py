"""A policy is how an adversary, or somebody tired, would get authority: hidden grants, broken files, other targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testbed.authority import Authority, a_change, a_plan
from tests.testbed.decisions import KEY, a_grant, a_policy, a_request, an_input
from tests.testbed.faces import Face, opened

from watchkeeper.core.actions import Intent
from watchkeeper.core.clock import ManualClock
from watchkeeper.core.decisions import Reason, Verdict
from watchkeeper.core.errors import PolicyError, RefusedError
from watchkeeper.core.model import labels
from watchkeeper.core.principals import Role
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import PolicySet, parse
from watchkeeper.policies.model import Limit
from watchkeeper.store.engine import Store

MATCH = 'environments: ["*"], services: ["*"], agents: ["*"], runbooks: ["*"], intents: ["*"], targetKinds: ["*"]'
GIVES = f"spec: {{match: {{{MATCH}}}, autonomy: full}}\n"
LIMIT = "apiVersion: watchkeeper.dev/v1\nkind: Limit\nmetadata: {name: l}\n"
GRANT = LIMIT.replace("Limit", "Grant")


@pytest.mark.parametrize(
    "text",
    [
        LIMIT + GIVES,
        LIMIT.replace("kind: Limit", "kind: Limit\nkind: Grant") + GIVES,
        LIMIT + GIVES + "kind: Grant\n",
        LIMIT.replace("kind: Limit", "Kind: Grant\nkind: Limit") + GIVES,
        LIMIT.replace("Limit", "[Limit, Grant]") + GIVES,
        LIMIT.replace("Limit", '"Grant "') + GIVES,
        LIMIT.replace("Limit", "grant") + GIVES,
        LIMIT.replace("Limit", "!!str Grant") + GIVES,
        LIMIT.replace("Limit", "Gr\u0430nt") + GIVES,
        LIMIT + GIVES.replace("autonomy: full", "autonomy: full, grants: [{autonomy: full}]"),
        LIMIT + GIVES.replace("autonomy: full", "autonomy: full, kind: Grant"),
        LIMIT + "spec: {}\ngrant: {autonomy: full}\n",
        LIMIT + "spec: {}\n# ---\n# kind: Grant\n",
        f"x: &grant\n  kind: Grant\n---\n{LIMIT}<<: *grant\n{GIVES}",
        LIMIT.replace("{name: l}", f"{{name: l, description: '{GRANT.splitlines()[1]}'}}") + GIVES,
        LIMIT + "spec: {approvals: [{roles: [approver], ttl: 1h, autonomy: full}]}\n",
    ],
)
def test_adversary_a_grant_hidden_in_a_limit_gives_nothing(text: str) -> None:
    """Either it is refused, or what it makes has no Grant, and then all is denied."""
    try:
        documents = [document for document, _ in parse(text, "hidden.yaml")]
    except PolicyError:
        return
    policy = compile_policy(PolicySet(tuple(documents)))
    assert not any(node.grants for node in policy.nodes)
    assert decide(policy, an_input()).verdict is Verdict.DENY


@given(st.text(max_size=40), st.sampled_from(("spec", "metadata", "match", "")))
def test_adversary_no_unknown_key_of_a_limit_is_read_as_anything(key: str, where: str) -> None:
    known = {"spec": "autonomy", "metadata": "name", "match": "services", "": "kind"}
    limit: dict[str, Any] = {
        "apiVersion": "watchkeeper.dev/v1", "kind": "Limit", "metadata": {"name": "l"}, "spec": {"match": {}},
    }  # fmt: skip
    place = {"": limit, "spec": limit["spec"], "metadata": limit["metadata"], "match": limit["spec"]["match"]}[where]
    taken = set(Limit.model_validate(limit).spec.model_fields_set) | {known[where]} | set(place)
    if key in taken:
        return
    place[key] = {"autonomy": "full", "kind": "Grant"}
    try:
        made = Limit.model_validate(limit)
    except ValueError:
        return
    assert made.node == "limit/l"
    assert decide(compile_policy(PolicySet((made,))), an_input()).verdict is Verdict.DENY


BROKEN = {
    "tab": (LIMIT + "spec:\n\tautonomy: propose\n", 5),
    "bracket": (LIMIT + "spec: {autonomy: propose\n", 5),
    "merge conflict": (LIMIT + "<<<<<<< HEAD\nspec: {}\n=======\nspec: {}\n>>>>>>> theirs\n", 5),
    "half a key": (LIMIT + "spec:\n  autono", 4),
    "colon": (LIMIT + "spec: {match: {services: [a: b: c]}}\n", 4),
    "second document": (f"{LIMIT}spec: {{}}\n---\n{GRANT}spec: {{autonomy: full}}\n", 9),
    "alias": (LIMIT + "spec: *nothing\n", 4),
    "control": (LIMIT + "spec: {autonomy: \x07}\n", 4),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_adversary_a_policy_with_a_syntax_error_at_3_am_leaves_the_one_in_force(
    tmp_path: Path, name: str
) -> None:
    text, line = BROKEN[name]
    async with opened(tmp_path) as face:
        before = await in_force(face)
        async with face.client(Role.OPERATOR, name="olga") as olga:
            body = {"files": [{"name": "night.yaml", "text": text}], "reason": "hotfix"}
            refused = await olga.post("/v1/policies", json=body)
            assert refused.status_code == 422, refused.text
            told = refused.json()
            assert told["place"] == f"night.yaml:{line}"
            assert all(told[part] for part in ("what", "cause", "next"))
        assert await in_force(face) == before
        assert decide(await face.services.versions.active(), an_input()).verdict is Verdict.SHADOW


async def in_force(face: Face) -> tuple[str, int]:
    """The version, and how many there were."""
    return (await face.services.versions.active()).version, len(await face.services.versions.history())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (a_request(target=KEY.model_copy(update={"kind": "deployment"})), Reason.NO_GRANT),
        (a_request(target=KEY.model_copy(update={"labels": labels(team="billing")})), Reason.NO_GRANT),
        (a_request(target=KEY.model_copy(update={"labels": ()})), Reason.NO_GRANT),
        (a_request(intent=Intent.BLOCK), Reason.NO_GRANT),
        (a_request(protected=True), Reason.PROTECTED_TARGET),
    ],
)
def test_adversary_an_agent_that_asks_for_a_target_outside_its_match_is_denied_with_the_whole_plan(
    asked: Any, told: Reason
) -> None:
    match = {"intents": ["throttle"], "targetKinds": ["key"], "targetLabels": {"team": ["research"]}}
    policy = a_policy(a_grant(match=match))
    assert decide(policy, an_input(a_request())).verdict is Verdict.ALLOW
    decision = decide(policy, an_input(a_request(), asked.model_copy(update={"step": 1})))
    assert decision.verdict is Verdict.DENY
    assert told in {gate.reason for gate in decision.blocking if gate.step == 1}


async def test_adversary_a_target_that_is_swapped_after_the_decision_is_refused_at_the_claim(store: Store) -> None:
    authority = Authority(store, ManualClock())
    plan, victim = a_plan(), a_plan(changes=(a_change("victim"),))
    for other in (victim, plan.model_copy(update={"changes": victim.changes}), a_plan("pln_1", "inc_9")):
        request = (await authority.request(plan)).model_copy(update={"plan": other})
        with pytest.raises(RefusedError) as caught:
            await authority.claims.take(request)
        assert caught.value.reason == "plan_mismatch"
    await authority.taken(plan)
