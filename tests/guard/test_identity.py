"""Who a call is from, by precedence, and what is not believed."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_guard.identity import AGENT_HEADER, RUN_HEADER, KeyFacts, identify
from watchkeeper_guard.request import MAX_ID, Request, clean

KEY = KeyFacts(hash="h" * 64, alias="alias", team_id="t1", team_alias="team", agent_id="bound", end_user="end")


def test_the_first_name_is_by_precedence_and_all_are_known() -> None:
    data = {
        "metadata": {
            "session_id": "session",
            "trace_id": "trace",
            "tags": ["run:tag-run", "agent:tag-agent", 7, "other"],
            "requester_metadata": {"session_id": "asked"},
        },
        "user": "user",
    }
    found = identify({RUN_HEADER: "run", AGENT_HEADER: "agent"}, data, KEY)
    assert found.runs == ("run", "session", "asked", "trace", "tag-run")
    assert found.agents == ("agent", "bound", "tag-agent", "alias", "end", "user")
    assert (found.keys, found.teams) == (("alias", "h" * 64), ("t1", "team"))
    assert identify({}, data, KEY).runs[0] == "session"
    assert identify({}, {"litellm_metadata": {"trace_id": "t"}}, KeyFacts()).runs == ("t",)
    assert identify({}, {}, KeyFacts()) == identify({}, {"metadata": None}, KeyFacts())


def test_a_key_itself_goes_no_further() -> None:
    secret = "sk-1234"
    found = identify({}, {}, KeyFacts(hash=secret))
    assert found.keys == (hashlib.sha256(secret.encode()).hexdigest(),)


@given(st.text())
def test_a_name_is_short_and_printable_and_two_are_not_made_one_by_cutting(name: str) -> None:
    assert len(clean(name)) <= MAX_ID
    assert clean(name).isprintable()
    assert clean("x" * MAX_ID + "a") != clean("x" * MAX_ID + "b")


def test_runs_of_one_name_are_counted_apart_for_each_team_and_together_within_it() -> None:
    def run_key(team: str, key: str) -> bytes:
        return Request(model="m", teams=(team,) if team else (), keys=(key,), runs=("r",)).run_key

    assert run_key("t1", "k1") == run_key("t1", "k2") != run_key("t2", "k1")
    assert run_key("", "k1") != run_key("", "k2")
