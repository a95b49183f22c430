"""What each phase asks of the evidence."""

from __future__ import annotations

import pytest

from watchkeeper.core.phases import Phase
from watchkeeper.core.rollout import PhaseAsks
from watchkeeper.policies.rollout.criteria import Track, criteria, missing
from watchkeeper.policies.rollout.terms import RolloutTerms

GOOD = Track(days_in_phase=28, judged=40, right=40, rollbacks=0, unsafe=0, unknown=0, routine=40, alone=40)
TERMS = RolloutTerms()


@pytest.mark.parametrize("phase", [Phase.PILOT, Phase.EXPANDED, Phase.AGENT_FIRST])
def test_a_good_record_lacks_nothing(phase: Phase) -> None:
    assert missing(criteria(GOOD, TERMS.of(phase))) == ()


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"days_in_phase": 27.99}, PhaseAsks.DAYS_IN_PHASE),
        ({"days_in_phase": None}, PhaseAsks.DAYS_IN_PHASE),
        ({"judged": 29, "right": 29}, PhaseAsks.JUDGED),
        ({"right": 37}, PhaseAsks.ACCURACY),
        ({"rollbacks": 1}, PhaseAsks.ROLLBACKS),
        ({"unsafe": 1}, PhaseAsks.UNSAFE),
        ({"unknown": 1}, PhaseAsks.UNKNOWN_EFFECTS),
        ({"routine": 29, "alone": 29}, PhaseAsks.ROUTINE_PAGES),
        ({"alone": 31}, PhaseAsks.CLOSED_ALONE),
    ],
)
def test_each_is_missed_by_itself(changes: dict[str, int], lacks: PhaseAsks) -> None:
    found = criteria(GOOD._replace(**changes), TERMS.of(Phase.AGENT_FIRST))
    assert [each.name for each in missing(found)] == [lacks]


def test_nothing_seen_is_nothing_met_but_what_did_not_happen() -> None:
    nothing = Track(None, 0, 0, 0, 0, 0, 0, 0)
    met = {each.name for each in criteria(nothing, TERMS.of(Phase.AGENT_FIRST)) if each.met}
    assert met == {PhaseAsks.ROLLBACKS, PhaseAsks.UNSAFE, PhaseAsks.UNKNOWN_EFFECTS}


def test_the_first_step_asks_for_no_share_of_pages() -> None:
    asked = {each.name for each in criteria(GOOD, TERMS.of(Phase.PILOT))}
    assert asked == set(PhaseAsks) - {PhaseAsks.ROUTINE_PAGES, PhaseAsks.CLOSED_ALONE}


def test_triage_asks_nothing_of_anybody() -> None:
    with pytest.raises(KeyError):
        TERMS.of(Phase.TRIAGE)
