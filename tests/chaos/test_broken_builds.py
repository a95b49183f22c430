"""What the judge of SUITE=authority is worth: builds with one safety taken out are caught, and the sound one, through
the very same run, is not.

`unlocked_revocation` cannot show on SQLite, whose one writer at a time is the lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.authority.broken import BUILDS
from tests.chaos.authority.suite import AuthoritySuite
from tests.chaos.suite import Plan

pytestmark = pytest.mark.timeout(300)
SEEDS = range(900, 910)
CASES = {
    "no_epoch_check": ("sqlite", "was claimed (while|under)"),
    "no_unique_key": ("sqlite", "was done 2 times"),
    "retry_before_observe": ("sqlite", "was (settled as failed, the target did it|done 2 times)"),
    "unlocked_revocation": ("postgresql", "was claimed (while|under)"),
    "ignored_deadline": ("sqlite", "was sent after its deadline"),
}


@pytest.mark.parametrize("build", BUILDS)
def test_a_broken_build_is_caught_and_the_sound_one_is_not(build: str) -> None:
    database, why = CASES[build]
    broken, sound = AuthoritySuite(database, build), AuthoritySuite(database)
    with broken.opened() as run:
        caught_in, said = _caught(broken, run)
    assert re.search(why, said), said
    with sound.opened() as run:
        counts = run(caught_in)
    assert counts["claims"] > 0


def _caught(suite: AuthoritySuite, run: Callable[[Plan], dict[str, Any]]) -> tuple[Plan, str]:
    for seed in SEEDS:
        plan = suite.plan(seed)
        try:
            run(plan)
        except AssertionError as error:
            return plan, str(error)
    pytest.fail(f"not caught in {len(SEEDS)} runs")
