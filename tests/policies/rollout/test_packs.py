"""The shipped packs: each passes its own tests, alone and with the others, and the phase alone moves a verdict."""

from __future__ import annotations

from itertools import chain, permutations

import pytest

from watchkeeper.cli.offers import names
from watchkeeper.core import yamldoc
from watchkeeper.core.actions import ActionKind, Intent
from watchkeeper.core.decisions import Verdict
from watchkeeper.core.errors import PolicyError
from watchkeeper.core.phases import Phase
from watchkeeper.policies.compile import Policy, compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.lint import lint
from watchkeeper.policies.load import TESTS, PolicySet, from_texts, pack, pack_names, pack_text
from watchkeeper.policies.trials.model import Given, PolicyTest
from watchkeeper.policies.trials.run import Written, asked, run
from watchkeeper.runbooks.loader import read_shipped

ROLLOUT = ("rollout-1-triage", "rollout-2-one-runbook", "rollout-3-five-runbooks", "rollout-4-agent-first")
ACTS = {
    Phase.TRIAGE: Verdict.SHADOW,
    Phase.PILOT: Verdict.ALLOW,
    Phase.EXPANDED: Verdict.ALLOW,
    Phase.AGENT_FIRST: Verdict.ALLOW,
}
HOURS = "2026-11-25T10:00:00Z"


def trials_in(name: str) -> list[Written]:
    found = yamldoc.parse(pack_text(name), f"{name}.yaml", PolicyError)
    return [
        Written(each.validate(PolicyTest, PolicyError), each)
        for each in found
        if isinstance(each.data, dict) and each.data.get("kind") == TESTS
    ]


def together(*more: str) -> Policy:
    documents = chain.from_iterable(pack(name).documents for name in (*ROLLOUT, *more))
    return compile_policy(PolicySet(tuple(documents)))


def given(phase: Phase | None, **changes: object) -> Given:
    said = {"service": "chat", "runbook": "throttle-runaway-caller", "at": HOURS, "phase": phase, **changes}
    return Given.model_validate({_camel(key): value for key, value in said.items()})


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def verdicts(policy: Policy, **changes: object) -> dict[Phase | None, Verdict]:
    return {phase: decide(policy, asked(given(phase, **changes), policy)).verdict for phase in (None, *Phase)}


def test_there_is_a_pack_for_each_phase_beside_the_baseline_and_the_demo() -> None:
    assert set(pack_names()) == {"baseline", "demo", *ROLLOUT}


@pytest.mark.parametrize("name", pack_names())
def test_every_pack_passes_its_own_tests_and_has_some(name: str) -> None:
    tests = trials_in(name)
    trials = run(compile_policy(pack(name)), tests)
    assert trials
    assert [each.name for each in trials if not each.passed] == []


def test_together_they_pass_the_trials_in_each() -> None:
    tests = [each for name in ROLLOUT for each in trials_in(name)]
    assert [each.name for each in run(together(), tests) if not each.passed] == []


def test_a_pack_is_the_same_written_out_and_read_again() -> None:
    text = "\n---\n".join(pack_text(name) for name in ROLLOUT)
    assert compile_policy(from_texts({"policy.yaml": text})).version == together().version


def test_invariant_6_the_phase_alone_moves_the_verdict() -> None:
    found = verdicts(together())
    assert found.pop(None) is Verdict.DENY
    assert found == ACTS


def test_each_phase_takes_in_what_the_one_before_did_not() -> None:
    policy = together()
    night = verdicts(policy, at="2026-11-25T22:00:00Z")
    assert (night[Phase.PILOT], night[Phase.EXPANDED]) == (Verdict.REQUIRE_APPROVAL, Verdict.ALLOW)
    other = verdicts(policy, runbook="fail-over-provider", intent=Intent.SHIFT_TRAFFIC, target_kind="deployment")
    assert (other[Phase.PILOT], other[Phase.EXPANDED]) == (Verdict.REQUIRE_APPROVAL, Verdict.ALLOW)
    elsewhere = verdicts(policy, service="payments")
    assert [elsewhere[phase] for phase in Phase] == [Verdict.SHADOW, Verdict.DENY, Verdict.DENY, Verdict.ALLOW]
    thin = verdicts(policy, trust=0.75)
    assert (thin[Phase.EXPANDED], thin[Phase.AGENT_FIRST]) == (Verdict.ALLOW, Verdict.REQUIRE_APPROVAL)


def test_nothing_that_cannot_be_undone_is_done_alone_in_any_phase() -> None:
    changes = {"kind": ActionKind.IRREVERSIBLE, "undo_captured": False}
    assert Verdict.ALLOW not in verdicts(together(), **changes).values()


def test_the_baseline_beside_them_holds_every_phase_at_shadow() -> None:
    found = verdicts(together("baseline"))
    assert {found[phase] for phase in Phase} == {Verdict.SHADOW}


def test_invariant_6_their_order_counts_for_nothing() -> None:
    every = [pack(name).documents for name in ROLLOUT]
    versions = {compile_policy(PolicySet(tuple(chain(*order)))).version for order in permutations(every)}
    assert len(versions) == 1


def test_they_name_what_there_is() -> None:
    known = names(each.runbook.name for each in read_shipped())
    unknown = {each.message.split("'")[1] for name in ROLLOUT for each in lint(pack(name), known)}
    assert unknown == set()
