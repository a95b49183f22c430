"""ledger search, stats, fsck, tail --follow: what they print, in 80 columns, and what they refuse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.testbed.faces import Served

from watchkeeper.cli.client import Client
from watchkeeper.cli.ledger.search import moment
from watchkeeper.core.errors import InputError

from .conftest import Cli

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_entries_are_searched_by_kind_subject_and_time(cli: Cli, served: Served) -> None:
    said = cli("ledger", "search", "--type", "decision", "--subject", served.incident)
    assert said.code == 0
    assert served.incident in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    found = cli("ledger", "search", "--type", "plan", "--type", "finding", "-n", "1", "--json").json
    assert len(found) == 1
    assert cli("ledger", "search", "--until", "2020-01-01").out.strip() == "No entry fits."


@pytest.mark.parametrize(
    ("words", "hint"),
    [(("--type", "decison"), 'did you mean "decision"?'), (("--since", "soon"), "is no time")],
)
def test_what_cannot_be_searched_for_is_said(cli: Cli, served: Served, words: tuple[str, str], hint: str) -> None:
    said = cli("ledger", "search", *words)
    assert said.code == 2
    assert hint in said.err
    assert "next:" in said.err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90d", NOW - timedelta(days=90)),
        ("2h", NOW - timedelta(hours=2)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05+01:00", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, expected: datetime) -> None:
    assert moment(text, NOW, "--since") == expected


@pytest.mark.parametrize("text", ["", "d", "-1d", "1y", "999999w", "9999999d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is no time"):
        moment(text, NOW, "--since")


def test_stats_fit_80_columns(cli: Cli, served: Served) -> None:
    said = cli("ledger", "stats")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    for part in ("checkpoints", "decision", "on disk", "█"):
        assert part in said.out
    assert cli("ledger", "stats", "--json").json["size"] >= 5


def test_fsck_of_the_daemon_and_of_an_export(cli: Cli, served: Served, tmp_path: Path) -> None:
    said = cli("ledger", "fsck")
    assert said.code == 0
    assert "bodies of evidence" in said.out
    directory, vkey = tmp_path / "export", cli("ledger", "key").out.strip()
    cli("ledger", "export", str(directory))
    assert cli("ledger", "fsck", "--export", str(directory), "--vkey", vkey).code == 0
    entries = directory / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().replace(b'"wkseq":2}', b'"wkseq":3}', 1))
    told = cli("ledger", "fsck", "--export", str(directory), "--vkey", vkey)
    assert told.code == 10
    assert "writer_gap" in told.out


def test_tail_follows_until_it_is_interrupted(cli: Cli, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    get = Client.get

    def interrupted(self: Client, path: str, **query: int) -> object:
        if path == "/v1/timeline":
            raise KeyboardInterrupt
        return get(self, path, **query)

    monkeypatch.setattr(Client, "get", interrupted)
    said = cli("ledger", "tail", "--follow", "-n", "2")
    assert len(said.out.splitlines()) >= 2
    assert max(map(len, said.out.splitlines())) <= 80
