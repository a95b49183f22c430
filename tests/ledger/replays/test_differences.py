"""Two values held against each other, path by path."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from watchkeeper.core.canonical import canonical
from watchkeeper.ledger.replays.differences import MAX_PATHS, MAX_SHOWN, differences

values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=2), below, max_size=4),
    max_leaves=12,
)


@given(values, values)
def test_a_difference_is_found_where_there_is_one_and_only_there(one: JsonValue, other: JsonValue) -> None:
    assert bool(differences(one, other)) == (canonical(one) != canonical(other))
    assert differences(one, one) == ()


def test_one_step_too_many_is_one_difference() -> None:
    walk: list[JsonValue] = [{"gate": gate, "passed": True} for gate in ("grant", "limit", "rate")]
    (change,) = differences({"walk": walk}, {"walk": [walk[0], walk[2]]})
    assert (change.path, change.recorded, change.again) == ("walk[1:limit]", '{"gate":"limit","passed":true}', "")
    (added,) = differences({"walk": walk[:2]}, {"walk": walk})
    assert (added.path, added.recorded) == ("walk[2:rate]", "")
    (inner,) = differences({"walk": walk}, {"walk": [*walk[:2], {"gate": "rate", "passed": False}]})
    assert (inner.path, inner.recorded, inner.again) == ("walk[2:rate].passed", "true", "false")


def test_what_is_shown_is_bounded() -> None:
    many: JsonValue = {str(n): n for n in range(100)}
    assert len(differences(many, {})) == MAX_PATHS
    (long,) = differences("x" * 1000, "y")
    assert len(long.recorded) == MAX_SHOWN
