"""The lines of an export made again: what is the same, what is not, and what is counted apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.testbed.decided import decided, golden_export, varied_export

from watchkeeper.cli.ledger import fresh
from watchkeeper.core.entries import EntryType, Envelope
from watchkeeper.core.errors import NotFoundError, UnavailableError, VerificationError, WatchkeeperError
from watchkeeper.ledger.exports.jsonlines import lines
from watchkeeper.ledger.exports.layout import ENTRIES
from watchkeeper.ledger.replays.replay import ReasonCount, ReplayReport
from watchkeeper.policies.replay.kept import VERSIONS, read_policies
from watchkeeper.policies.replay.recheck import check, taken_apart


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return golden_export(tmp_path / "golden")


def rows(export: Path) -> list[bytes]:
    return list(lines(export / ENTRIES, 65_535))


def decision_rows(export: Path) -> list[bytes]:
    return [row for row in rows(export) if EntryType.DECISION.encode() in row]


def checked(export: Path, *given: bytes) -> ReplayReport:
    return check(given, read_policies(export))


def test_an_entry_comes_apart_where_it_was_put_together(export: Path) -> None:
    for row, (entry, record) in zip(decision_rows(export), decided(export), strict=True):
        written = taken_apart(row)
        assert written is not None
        assert b'{"data":{"decision":%b%b,"input":%b},%b' % written == row
        assert record.id.encode() in written.name
        assert entry.encode() in written.envelope


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"confidence":0.9', b'"confidence":0.8'),
        (b'"novel":false', b'"novel":true'),
        (b'"reason":"passed"', b'"reason":"no_grant"'),
        (b'"autonomy":"', b'"autonomy":"n'),
        (b'"rates":[{"count":0', b'"rates":[{"count":1'),
        (b'"input_digest":"sha256:', b'"input_digest":"sha256:0'),
    ],
)
def test_whatever_of_a_decision_is_changed_is_no_match(before: bytes, after: bytes, export: Path) -> None:
    row = next(row for row in decision_rows(export) if before in row)
    report = checked(export, row.replace(before, after, 1))
    assert (report.seen, report.matched) == (1, 0)
    assert report.differed or report.not_recomputable == (ReasonCount(reason="unreadable", count=1),)


def test_bytes_that_are_not_canonical_are_judged_by_what_they_say(export: Path) -> None:
    """Whether an entry is written as it must be is for verify to find; the decision is the same."""
    row = decision_rows(export)[0]
    assert checked(export, row.replace(b'"novel":', b'"novel": ')).matched == 1
    assert checked(export, row.replace(b'{"data":', b'{ "data":')).matched == 1


def test_what_cannot_be_made_again_is_counted_apart(export: Path) -> None:
    row = decision_rows(export)[0]
    report = checked(
        export,
        b"",
        row[:-1],
        row.replace(b'"verdict":', b'"verdikt":'),
        row.replace(b'"policy_version":"sha256:', b'"policy_version":"sha256:0'),
        row,
    )
    assert (report.seen, report.matched, report.differed) == (5, 1, ())
    assert report.not_recomputable == (
        ReasonCount(reason="not_kept", count=1),
        ReasonCount(reason="pruned", count=1),
        ReasonCount(reason="unreadable", count=2),
    )


def test_another_kind_that_speaks_of_decisions_is_none(export: Path) -> None:
    row = decision_rows(export)[0].replace(b'"type":"dev.watchkeeper.decision.v1"', b'"type":"dev.watchkeeper.plan.v1"')
    row = row.replace(b'"subject":"inc_1"', b'"subject":"dev.watchkeeper.decision.v1"')
    report = checked(export, row)
    assert (report.seen, report.matched, report.differed, report.not_recomputable) == (1, 0, (), ())


def test_a_difference_names_gate_and_values(export: Path) -> None:
    old, new = b'"reason":"blast_count_exceeded"', b'"reason":"blast_share_exceeded"'
    row = next(row for row in decision_rows(export) if old in row)
    report = checked(export, row.replace(old, new, 1))
    ((change,),) = [each.paths for each in report.differences]
    assert change.path.startswith("decision.walk[")
    assert change.path.endswith(":blast_count].reason")
    assert (change.recorded, change.again) == ('"blast_share_exceeded"', '"blast_count_exceeded"')
    assert report.differences[0].entry == report.differed[0] == Envelope.model_validate_json(row).id


def test_parts_by_several_processes_are_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "LEAST_BYTES", 1)
    export = varied_export(tmp_path / "varied", 60, seed=3)
    entries = export / ENTRIES
    broken = [
        row.replace(b'"novel":false', b'"novel":true') if number % 7 == 0 else row
        for number, row in enumerate(rows(export))
    ]
    entries.write_bytes(b"".join(row + b"\n" for row in broken))
    told: list[int] = []
    report = fresh.recheck(export, told.append, processes=3)
    assert report == check(broken, read_policies(export))
    assert report.differed
    assert (report.seen, told[-1]) == (60, entries.stat().st_size)


def test_a_process_that_fails_is_an_error(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (export / VERSIONS).write_text("{}\n")
    with pytest.raises(WatchkeeperError, match="is not what its digest says") as failed:
        fresh.recheck(export, lambda done: None)
    assert failed.value.exit_code == VerificationError.exit_code
    monkeypatch.setattr(fresh, "PROGRAM", "watchkeeper.no_such_program")
    with pytest.raises(UnavailableError, match="ended without a report"):
        fresh.recheck(export, lambda done: None)


def test_an_empty_log_has_nothing_to_make_again(export: Path) -> None:
    (export / ENTRIES).write_bytes(b"")
    assert fresh.recheck(export, lambda done: None) == ReplayReport(seen=0, matched=0, differed=(), not_recomputable=())


def test_policies_are_known_by_their_content(export: Path) -> None:
    kept = read_policies(export)
    for version in kept.versions():
        assert kept.load(version).version == version
    with pytest.raises(NotFoundError):
        kept.load("sha256:00")
    first, *_ = kept.versions()
    listing = export / VERSIONS
    listing.write_bytes(listing.read_bytes().replace(first.encode(), b"sha256:" + b"0" * 64))
    with pytest.raises(VerificationError):
        read_policies(export).load("sha256:" + "0" * 64)
