"""What is known of runs: the same in memory and in the shared file, among processes, and after they died."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchkeeper_guard.rules import HISTORY
from watchkeeper_guard.runs import IDLE_S, MemoryRuns, Runs, RunState, StateBusyError
from watchkeeper_guard.shared import WAYS, SharedRuns

NOW = 1_800_000_000.0


def key(number: int) -> bytes:
    return (number + 1).to_bytes(16, "big")  # all in one place of the table


def called(runs: Runs, name: bytes, fingerprint: int = 1, tokens: int = 1, now: float = NOW) -> int:
    def step(run: RunState) -> tuple[RunState, int]:
        changed = run.called(fingerprint, tokens, tokens * 2, now)
        return changed, changed.calls

    while True:
        try:
            return runs.update(name, now, step)
        except StateBusyError:
            continue


@contextmanager
def shared(directory: Path, slots: int = 64) -> Iterator[SharedRuns]:
    runs = SharedRuns(directory / "runs.bin", slots)
    try:
        yield runs
    finally:
        runs.close()


@given(
    st.lists(
        st.tuples(st.integers(1, 5), st.integers(0, (1 << 64) - 1), st.integers(0, 1 << 40), st.floats(0, 1e5)),
        max_size=80,
    )
)
def test_the_file_says_what_memory_says(steps: list[tuple[int, int, int, float]]) -> None:
    with TemporaryDirectory() as directory, shared(Path(directory)) as file:
        memory, now = MemoryRuns(), NOW
        for number, fingerprint, tokens, later in steps:
            now += later
            for runs in (memory, file):
                called(runs, key(number), fingerprint, tokens, now)
        assert [file.get(key(n), now) for n in range(6)] == [memory.get(key(n), now) for n in range(6)]
        assert file.forgotten == memory.forgotten == 0


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_the_run_that_called_longest_ago_is_forgotten_first_and_counted(kind: str, tmp_path: Path) -> None:
    with shared(tmp_path, slots=WAYS) as file:
        runs: Runs = MemoryRuns(WAYS) if kind == "memory" else file
        for number in range(WAYS):
            called(runs, key(number), now=NOW + number)
        called(runs, key(0), now=NOW + 100)
        called(runs, key(99), now=NOW + 101)
        assert runs.forgotten == 1
        known = [runs.get(key(number), NOW + 102).calls for number in (0, 1, 2, 99)]
    assert known == [2, 0, 1, 1]


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_run_that_was_idle_for_a_day_begins_anew(kind: str, tmp_path: Path) -> None:
    with shared(tmp_path) as file:
        runs: Runs = MemoryRuns() if kind == "memory" else file
        called(runs, key(1))
        assert runs.get(key(1), NOW + IDLE_S).calls == 1
        assert runs.get(key(1), NOW + IDLE_S + 1).calls == 0


def test_a_restart_finds_the_runs_again(tmp_path: Path) -> None:
    with shared(tmp_path) as runs:
        for number in range(HISTORY + 3):
            called(runs, key(1), fingerprint=number + 1)
    with shared(tmp_path) as again:
        found = again.get(key(1), NOW)
    assert (found.calls, found.tokens, found.micro_usd) == (HISTORY + 3, HISTORY + 3, 2 * (HISTORY + 3))
    assert found.history == tuple(range(4, HISTORY + 4))


def test_a_file_of_another_form_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "runs.bin").write_bytes(b"something else")
    with shared(tmp_path) as runs:
        assert called(runs, key(1)) == 1
    with shared(tmp_path, slots=128) as larger:
        assert larger.get(key(1), NOW) == RunState()


def test_a_record_that_is_half_written_begins_anew_and_is_counted(tmp_path: Path) -> None:
    with shared(tmp_path) as runs:
        called(runs, key(1))
        with (tmp_path / "runs.bin").open("r+b") as file:
            place = file.read().index(key(1)) + 16  # its number of calls
            file.seek(place)
            file.write(b"\xff")
        assert called(runs, key(1)) == 1
        assert runs.torn == 1


def test_a_worker_that_is_frozen_with_the_lock_is_a_doubt_and_not_a_wait(tmp_path: Path) -> None:
    with shared(tmp_path) as runs, (tmp_path / "runs.bin").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StateBusyError):
            runs.get(key(1), NOW)
        fcntl.flock(other, fcntl.LOCK_UN)
        assert called(runs, key(1)) == 1


def _calls(directory: Path, count: int, pipe: Connection) -> None:
    with shared(directory) as runs:
        pipe.send("here")
        pipe.recv()
        for number in range(count):
            called(runs, key(number % 3))
            if number == 50:
                pipe.send("half")
        pipe.send("done")


def test_processes_count_together_and_one_that_is_killed_holds_nobody_up(tmp_path: Path) -> None:
    context, each = get_context("spawn"), 600
    workers = []
    for count in (each, each, 1 << 30):
        ours, theirs = context.Pipe()
        process = context.Process(target=_calls, args=(tmp_path, count, theirs), daemon=True)
        process.start()
        workers.append((process, ours))
    for _, pipe in workers:
        assert pipe.poll(60)
        pipe.recv()
    for _, pipe in workers:
        pipe.send("go")
    (victim, pipe) = workers.pop()
    assert pipe.recv() == "half"
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    victim.join(30)
    for process, pipe in workers:
        assert [pipe.recv(), pipe.recv()] == ["half", "done"]
        process.join(30)
    with shared(tmp_path) as runs:
        total = sum(runs.get(key(number), NOW).calls for number in range(3))
        assert total >= 2 * each + 51 or runs.torn == 1


def test_what_is_corrected_is_never_less_than_nothing() -> None:
    assert RunState(1, 5, 5).corrected(-9, -9) == replace(RunState(1, 5, 5), tokens=0, micro_usd=0)
