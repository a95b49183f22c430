"""ledger erase at the command line."""

from __future__ import annotations

from tests.cli.conftest import Cli
from tests.testbed.faces import Served


def test_an_incidents_evidence_is_erased_and_the_story_says_so(cli: Cli, served: Served) -> None:
    done = cli("ledger", "erase", "--incident", served.incident, "-m", "it names a customer", "--yes")
    assert done.code == 0, done.err
    assert "erased: snapshot" in done.out
    assert "recorded as ent_" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert ", erased" in cli("ledger", "show", served.incident, "--evidence").out
    again = cli("ledger", "erase", "--incident", served.incident, "-m", "twice", "--yes", "--json")
    assert again.json["found"] == []
    assert len(again.json["gone_before"]) >= 1


def test_without_a_terminal_it_wants_yes(cli: Cli, served: Served) -> None:
    refused = cli("ledger", "erase", "--incident", served.incident, "-m", "x")
    assert refused.code == 2
    assert "nothing was erased" in refused.err


def test_what_has_no_evidence_is_not_found(cli: Cli, served: Served) -> None:
    assert cli("ledger", "erase", "--incident", "inc_none", "-m", "x", "--yes").code == 4


def test_what_is_to_be_erased_is_named_in_one_way(cli: Cli, served: Served) -> None:
    for named in ([], ["0123456789ab", "--incident", served.incident]):
        refused = cli("ledger", "erase", *named, "-m", "x", "--yes")
        assert refused.code == 2
        assert "name either commitments or an incident" in refused.err
