"""What a policy's own tests ask, and how they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.policies.trials.documents import EVERYTHING, TEST

from watchkeeper.core.decisions import Gate, Reason, Verdict
from watchkeeper.core.errors import PolicyError
from watchkeeper.policies.compile import compile_policy
from watchkeeper.policies.decide import decide
from watchkeeper.policies.load import from_texts, load, parse
from watchkeeper.policies.trials.model import Given
from watchkeeper.policies.trials.run import asked, read, run

POLICY = compile_policy(from_texts({"p.yaml": EVERYTHING}))


def test_what_is_not_given_stands_in_nobodys_way() -> None:
    assert decide(POLICY, asked(Given(), POLICY)).blocking == ()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"environment": "staging"}, Reason.NO_GRANT),
        ({"blastCount": 4}, Reason.BLAST_COUNT_EXCEEDED),
        ({"blastPopulation": 1}, Reason.BLAST_SHARE_EXCEEDED),
        ({"recentEffects": 2}, Reason.RATE_EXCEEDED),
        ({"sinceLast": "9m"}, Reason.COOLING_DOWN),
        ({"runningOnTarget": 1}, Reason.TOO_MANY_RUNNING),
        ({"runningFleet": 2}, Reason.TOO_MANY_RUNNING),
        ({"trust": 0.8}, Reason.TRUST_TOO_LOW),
        ({"trust": None}, Reason.TRUST_TOO_LOW),
        ({"confidence": 0.6}, Reason.CONFIDENCE_TOO_LOW),
        ({"promoted": None}, Reason.NOT_PROMOTED),
        ({"ceiling": "propose"}, Reason.AGENT_HELD_BACK),
        ({"overBudget": True}, Reason.AGENT_OVER_BUDGET),
        ({"horizons": 1}, Reason.TOO_FEW_HORIZONS),
        ({"horizons": 0}, Reason.NO_VERIFICATION),
        ({"lastHorizon": "1m"}, Reason.VERIFICATION_TOO_SHORT),
        ({"guards": 0}, Reason.TOO_FEW_GUARDS),
        ({"at": "2026-01-07T18:00:00Z"}, Reason.OUTSIDE_WINDOW),
        ({"at": "2026-12-24T12:00:00Z"}, Reason.FROZEN),
        ({"budgetRemaining": 0.05}, Reason.BUDGET_SPENT),
        ({"blastCount": 3}, Reason.RULE_NOT_MET),
        ({"protected": True}, Reason.PROTECTED_TARGET),
        ({"conflict": True}, Reason.CONFLICT_IN_FORCE),
        ({"undoCaptured": False}, Reason.NO_UNDO),
        ({"foreignOwner": True}, Reason.FOREIGN_OWNER),
        ({"novel": True}, Reason.NOVEL_CAUSE),
        ({"edgeProven": False}, Reason.EDGE_NOT_PROVEN),
    ],
)
def test_every_key_reaches_the_gate_it_is_about(given: dict[str, object], reason: Reason) -> None:
    decision = decide(POLICY, asked(Given.model_validate(given), POLICY))
    assert reason in {each.reason for each in decision.blocking}


def test_a_case_overrides_what_holds_for_all_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(EVERYTHING)
    (tmp_path / "t.yaml").write_text(TEST)
    one, two = run(POLICY, read(tmp_path))
    assert (one.name, one.passed, one.said) == ("t/one", True, frozenset({Reason.CONFIDENCE_TOO_LOW}))
    assert (two.passed, two.decision.verdict, two.expected) == (False, Verdict.ALLOW, Verdict.DENY)
    assert one.place == f"{tmp_path / 't.yaml'}:7"


def test_an_expected_reason_that_is_not_the_only_one_fails(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(TEST.replace("{confidence: 0.5}", "{confidence: 0.5, trust: 0.1}"))
    (one, _) = run(POLICY, read(tmp_path))
    assert one.decision.verdict is one.expected
    assert not one.passed


def test_a_test_is_no_part_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(EVERYTHING + "---\n" + TEST)
    assert compile_policy(load(tmp_path)).version == POLICY.version
    assert parse(TEST, "t.yaml") == []


@pytest.mark.parametrize(
    ("before", "after", "told", "line"),
    [
        ("verdict: deny", "verdict: denied", "deny", 11),
        ("{confidence: 0.5}", "{confidense: 0.5}", "did you mean", 8),
        ("name: two", "name: one", "two cases", 6),
        ("[confidence_too_low]", "[too_low]", "reasons", 9),
    ],
)
def test_a_mistake_in_a_test_is_told_with_its_place(
    before: str, after: str, told: str, line: int, tmp_path: Path
) -> None:
    (tmp_path / "t.yaml").write_text(TEST.replace(before, after))
    with pytest.raises(PolicyError) as error:
        read(tmp_path)
    text = f"{error.value.place} {error.value.what}"
    assert told in text, text
    assert f"t.yaml:{line}" in text, text


def test_an_input_tells_all_that_the_policy_asks_for() -> None:
    given = asked(Given(), POLICY)
    assert [rate.window_s for rate in given.rates] == list(POLICY.rate_windows)
    assert [offset.zone for offset in given.offsets] == list(POLICY.zones)
    assert [read.objective for read in given.budgets] == list(POLICY.objectives)
    assert Gate.ERROR_BUDGET in {each.gate for each in decide(POLICY, given).walk}
