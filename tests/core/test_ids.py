"""Ids: their kind in front, sorted by time, unique."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper.core.ids import new_id

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.integers(1, 10**9))
def test_a_later_id_sorts_after(milliseconds: int) -> None:
    assert new_id("inc", T0) < new_id("inc", T0 + timedelta(milliseconds=milliseconds))


def test_an_id_tells_its_kind_and_is_its_own() -> None:
    made = {new_id("ent", T0) for _ in range(1000)}
    assert len(made) == 1000
    assert all(re.fullmatch(r"ent_[0-9a-f]{28}", one) for one in made)
