"""Rules on their way: by the stream, on the disk, to the other workers, and with the daemon away."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.testbed.guardrules import a_call, rule, rules
from tests.testbed.guardserver import TOKEN, GuardServer, document
from tests.testbed.polling import eventually

from watchkeeper_guard.disk import State, envelope
from watchkeeper_guard.document import RulesError
from watchkeeper_guard.guard import Guard
from watchkeeper_guard.settings import Settings, SettingsError, from_environment
from watchkeeper_guard.stream import Stream
from watchkeeper_guard.wire import Daemon, WireError

PAUSE = rule("hold", id="pause", match={"agent": "agent-1"}, state="paused")


@contextmanager
def worker(directory: Path, server: GuardServer | None, token: str = TOKEN) -> Iterator[Guard]:
    guard = Guard()
    daemon = None if server is None else Daemon(server.url, token, "worker")
    stream = Stream(guard, State(directory), daemon, instance="worker", stats=dict)
    stream.start()
    try:
        yield guard
    finally:
        stream.stop()


def version(guard: Guard) -> int:
    return 0 if guard.rules is None else guard.rules.version


def reaches(guard: Guard, wanted: int) -> Callable[[], bool]:
    return lambda: version(guard) == wanted


def test_what_the_daemon_says_is_in_force_and_on_disk(tmp_path: Path) -> None:
    with GuardServer() as server, worker(tmp_path, server) as guard:
        server.publish(PAUSE)
        eventually(lambda: not guard.enter(a_call(), "a").allowed, timeout_s=10, every_s=0.01)
        server.publish()
        eventually(lambda: guard.enter(a_call(), "b").allowed, timeout_s=10, every_s=0.01)
        eventually(lambda: json.loads((tmp_path / "rules.json").read_bytes())["document"]["version"] == 2, timeout_s=10)


def test_with_the_daemon_away_the_last_rules_stand_over_a_restart_too(tmp_path: Path) -> None:
    with GuardServer() as server:
        with worker(tmp_path, server) as guard:
            server.publish(PAUSE)
            eventually(reaches(guard, 1), timeout_s=10)
            eventually((tmp_path / "rules.json").exists, timeout_s=10)
            server.kill()
            assert not guard.enter(a_call(), "a").allowed
        with worker(tmp_path, server) as again:
            assert not again.enter(a_call(), "a").allowed  # at once: from the disk
            server.start()
            server.publish()
            eventually(reaches(again, 2), timeout_s=30)


def test_one_worker_asks_and_all_follow_and_another_takes_over(tmp_path: Path) -> None:
    with GuardServer() as server, worker(tmp_path, server) as second_to_go:
        eventually(lambda: server.asked, timeout_s=10)
        with worker(tmp_path, None) as follower, worker(tmp_path, server) as heir:
            server.publish(PAUSE)
            for guard in (second_to_go, follower, heir):
                eventually(reaches(guard, 1), timeout_s=10, every_s=0.02)
            assert server.asked.count(0) == 1  # the heir did not ask


def test_rules_of_a_lower_version_are_not_taken(tmp_path: Path) -> None:
    guard = Guard()
    stream = Stream(guard, State(tmp_path), None, instance="w", stats=dict)
    stream.take(envelope(document(5)))
    with pytest.raises(RulesError, match="5 is in force"):
        stream.take(envelope(document(4, PAUSE)))
    assert version(guard) == 5


@pytest.mark.parametrize(
    "raw",
    [
        b"not json",
        b"[]",
        envelope(document(9))[:-20],
        envelope(document(9)).replace(b'"version": 9', b'"version": 8'),
        envelope({**document(9), "else": 1}),
    ],
)
def test_what_is_not_whole_or_not_right_changes_nothing(tmp_path: Path, raw: bytes) -> None:
    guard, state = Guard(), State(tmp_path)
    stream = Stream(guard, state, None, instance="w", stats=dict)
    stream.take(envelope(document(1, PAUSE)))
    with pytest.raises(RulesError):
        stream.take(raw)
    stream.keep()
    (tmp_path / "rules.json").write_bytes(raw)
    stream.follow()
    assert version(guard) == 1
    assert (tmp_path / "rules.bad").read_bytes() == raw
    kept = state.load()
    assert kept is not None
    assert kept.version == 1  # the copy that a loss of power leaves whole
    (tmp_path / "rules.durable.json").write_bytes(raw)
    with pytest.raises(RulesError):
        state.load()
    assert state.load() is None


def test_rules_that_never_arrive_are_no_rules(tmp_path: Path) -> None:
    with GuardServer() as server, worker(tmp_path, server, token="wrong") as guard:
        server.publish(PAUSE)
        with pytest.raises(WireError, match="401"):
            Daemon(server.url, "wrong", "w").rules_after(0)
        assert guard.rules is None


def test_a_wire_error_names_no_token() -> None:
    with pytest.raises(WireError) as failed:
        Daemon("http://127.0.0.1:9", "secret-token", "w").rules_after(0)
    assert "secret-token" not in str(failed.value)


def test_refusals_are_reported_once_though_the_daemon_was_away(tmp_path: Path) -> None:
    with GuardServer() as server, worker(tmp_path, server) as guard:
        server.publish(PAUSE)
        eventually(reaches(guard, 1), timeout_s=10)
        server.answer_reports = 503
        for number in range(7):
            guard.enter(a_call(), str(number))
        eventually(lambda: not len(guard.reports), timeout_s=10)  # taken, and not yet delivered
        server.answer_reports = 202
        (line,) = eventually(server.reported, timeout_s=30)
        assert (line["rule"], line["code"], line["outcome"], line["count"]) == ("pause", "agent_paused", "refused", 7)
        batch = server.batches[-1]
        assert (batch["rules_version"], batch["instance"], batch["dropped"]) == (1, "worker", 0)


def test_a_batch_that_is_never_taken_does_not_stand_in_the_way(tmp_path: Path) -> None:
    with GuardServer() as server:
        server.answer_reports = 422
        guard = Guard()
        stream = Stream(guard, State(tmp_path), Daemon(server.url, TOKEN, "w"), instance="w", stats=dict)
        guard.put(rules(PAUSE))
        guard.enter(a_call(), "a")
        assert not stream.report()
        server.answer_reports = 202
        stream.report()
        assert server.batches[-1]["dropped"] == 1


def test_settings_are_read_and_what_is_wrong_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(" t0ken\n")
    given = {
        "WATCHKEEPER_GUARD_URL": "https://watchkeeper.example/",
        "WATCHKEEPER_GUARD_TOKEN_FILE": str(tmp_path / "token"),
        "WATCHKEEPER_GUARD_STATE_DIR": str(tmp_path),
        "WATCHKEEPER_GUARD_ON_START": "closed",
        "OTHER": "1",
    }
    read = from_environment(given)
    assert read == Settings(tmp_path, "https://watchkeeper.example", "t0ken", None, read.on_start, "")
    assert "t0ken" not in repr(read)
    for wrong in (
        {"WATCHKEEPER_GUARD_ONSTART": "open"},
        {"WATCHKEEPER_GUARD_ON_START": "ajar"},
        {"WATCHKEEPER_GUARD_URL": "watchkeeper.example"},
        {"WATCHKEEPER_GUARD_TOKEN": "a", "WATCHKEEPER_GUARD_TOKEN_FILE": "b"},
        {"WATCHKEEPER_GUARD_TOKEN_FILE": str(tmp_path / "none")},
    ):
        with pytest.raises(SettingsError):
            from_environment(wrong)
