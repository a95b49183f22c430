"""What was restarted must come back: overdue is not recovered, whatever the service level says."""

from __future__ import annotations

import pytest

from watchkeeper.agents.remediator.restored import Return, judged
from watchkeeper.core.outcomes import Recovery

BACK, AWAY, SILENT = True, False, None


@pytest.mark.parametrize("recovery", Recovery)
def test_what_is_back_changes_nothing(recovery: Recovery) -> None:
    assert judged(recovery, (), 60) is recovery
    assert judged(recovery, (Return(0, BACK, 30),), 60) is recovery


@pytest.mark.parametrize(
    ("back", "after_s", "expected"),
    [
        (AWAY, 29, Recovery.INCONCLUSIVE),
        (AWAY, 30, Recovery.NOT_RECOVERED),
        (SILENT, 29, Recovery.INCONCLUSIVE),
        (SILENT, 3000, Recovery.INCONCLUSIVE),
    ],
)
def test_what_is_not_back_is_never_recovered(back: bool | None, after_s: float, expected: Recovery) -> None:
    found = judged(Recovery.RECOVERED, (Return(0, BACK, 30), Return(1, back, 30)), after_s)
    assert found is expected


def test_overdue_outweighs_an_inconclusive_level_and_silence_does_not_hide_it() -> None:
    returned = (Return(0, SILENT, 30), Return(1, AWAY, 30))
    assert judged(Recovery.INCONCLUSIVE, returned, 31) is Recovery.NOT_RECOVERED
    assert judged(Recovery.NOT_RECOVERED, (Return(0, SILENT, 30),), 31) is Recovery.NOT_RECOVERED
